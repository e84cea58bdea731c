// Any bytes are a message: the boundary walker, all renderers, sections, the cache, decoding for SEARCH.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "imap/mime_structure.h"
#include "imap/test_mime_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string wrong = gemel::imap::CheckMessage(text);
  if (!wrong.empty()) {
    std::fprintf(stderr, "%s\n", wrong.c_str());
    std::abort();
  }
  gemel::imap::Structure::FromCache(text);
  return 0;
}
