// The link's messages are foreign bytes until the peer's key is known, and may be damaged even then.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/link_messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gemel::engine::LinkDecoder decoder;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (size_t at = 0; at < size; at += 7) decoder.Feed(bytes.substr(at, 7));
  for (;;) {
    auto message = decoder.Next();
    if (!message.ok() || !message->has_value()) return 0;
    // What was understood can be said again, and is then understood the same way.
    const std::string once = Encode(**message);
    gemel::engine::LinkDecoder again;
    again.Feed(once);
    auto second = again.Next();
    if (!second.ok() || !second->has_value() || Encode(**second) != once) std::abort();
  }
}
