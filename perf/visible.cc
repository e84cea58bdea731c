#include "perf/visible.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "perf/deliver.h"

namespace gemel::perf {

absl::StatusOr<std::unique_ptr<Inboxes>> Inboxes::Open(const Address& server, const std::string& users, int accounts,
                                                       const std::string& password) {
  auto inboxes = std::make_unique<Inboxes>();
  for (int i = 0; i < accounts; ++i) {
    auto client = ImapClient::Open(server);
    if (!client.ok()) return client.status();
    const absl::Status status = (*client)->Login(ForAccount(users, static_cast<uint64_t>(i)), password);
    if (!status.ok()) return status;
    inboxes->clients_.push_back(std::move(*client));
  }
  return inboxes;
}

absl::StatusOr<uint64_t> Inboxes::Count() {
  uint64_t total = 0;
  // All questions first: the server may answer them side by side.
  for (const auto& client : clients_) {
    const absl::Status status = client->Send("STATUS INBOX (MESSAGES)");
    if (!status.ok()) return status;
  }
  for (const auto& client : clients_) {
    const absl::StatusOr<ImapReply> reply = client->Receive();
    if (!reply.ok()) return reply.status();
    const absl::StatusOr<uint64_t> messages = NumberAfter(reply->untagged, "MESSAGES ");
    if (!messages.ok()) return messages.status();
    total += *messages;
  }
  return total;
}

absl::StatusOr<double> Inboxes::WaitFor(uint64_t total, Clock::time_point since, double seconds_max,
                                        Progress& progress) {
  const Clock::time_point wait_started = Clock::now();
  while (true) {
    const Clock::time_point count_started = Clock::now();
    const absl::StatusOr<uint64_t> count = Count();
    if (!count.ok()) return count.status();
    if (*count > total) {
      return absl::FailedPreconditionError(fmt::format("{} messages where {} were expected", *count, total));
    }
    if (*count == total) return SecondsSince(since);
    if (SecondsSince(wait_started) > seconds_max) {
      return absl::DeadlineExceededError(
          fmt::format("{} of {} messages are there after {:.0f} s", *count, total, seconds_max));
    }
    if (progress.Due()) progress.Show(fmt::format("{} of {} messages to be seen", *count, total));
    const double pause_seconds = std::max(0.002, 2 * SecondsSince(count_started));
    std::this_thread::sleep_for(std::chrono::duration<double>(pause_seconds));
  }
}

}  // namespace gemel::perf
