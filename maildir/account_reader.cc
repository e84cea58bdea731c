#include "maildir/account_reader.h"

#include "maildir/account_path.h"
#include "maildir/base.h"
#include "maildir/file_name.h"

namespace gemel::maildir {

AccountReader::AccountReader(journal::Disk& disk, const std::string& data_directory, std::string_view name)
    : disk_(disk), directory_(data_directory + "/accounts/" + AccountPath(name)) {}

absl::StatusOr<AccountState> AccountReader::ReadBase() const {
  const std::string path = directory_ + "/base";
  auto bytes = disk_.ReadWhole(path);
  if (!bytes.ok()) return bytes.status();
  auto state = DecodeBase(*bytes);
  if (state.ok()) return state;
  return absl::Status(state.status().code(), path + ": " + std::string(state.status().message()));
}

absl::StatusOr<std::string> AccountReader::ReadBody(const Message& message) {
  const std::string base = MaildirBaseName(message);
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (attempt > 0 || !listed_) ListFiles();
    const auto found = paths_of_.find(base);
    if (found == paths_of_.end()) continue;
    for (auto path = found->second.rbegin(); path != found->second.rend(); ++path) {
      auto bytes = disk_.ReadWhole(*path);
      if (bytes.ok() ? bytes->size() == message.bytes : !absl::IsNotFound(bytes.status())) return bytes;
    }
  }
  return absl::NotFoundError(directory_ + ": no whole file " + base);
}

void AccountReader::ListDirectory(const std::string& path) {
  const auto names = disk_.List(path);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (IsOwnFileName(name)) paths_of_[std::string(BaseOf(name))].push_back(path + "/" + name);
  }
}

// The living last: of a message that was expunged in one mailbox and lives in another both files are the same.
void AccountReader::ListFiles() {
  listed_ = true;
  paths_of_.clear();
  if (const auto days = disk_.List(directory_ + "/expunged"); days.ok()) {
    for (const std::string& day : *days) ListDirectory(directory_ + "/expunged/" + day);
  }
  ListDirectory(directory_ + "/spool");
  for (const char* where : {"/aside", "/Maildir"}) {
    const std::string root = directory_ + where;
    if (const auto folders = disk_.List(root); folders.ok()) {
      for (const std::string& folder : *folders) {
        ListDirectory(root + "/" + folder + "/new");
        ListDirectory(root + "/" + folder + "/cur");
      }
    }
  }
  ListDirectory(directory_ + "/Maildir/new");
  ListDirectory(directory_ + "/Maildir/cur");
}

}  // namespace gemel::maildir
