// The larger arguments of commands: sets, flags, FETCH items, SEARCH keys. As in cursor.h, false means BAD.
#pragma once
#include <string>
#include <vector>

#include "imap/cursor.h"
#include "imap/fetch_item.h"
#include "imap/search_key.h"
#include "journal/record.h"

namespace gemel::imap {

bool TakeSequenceSet(Cursor& in, SequenceSet* out);
// \Recent is taken and dropped: a client cannot alter it.
bool TakeFlag(Cursor& in, journal::Flags* flags, std::vector<std::string>* keywords);
bool TakeFlagList(Cursor& in, journal::Flags* flags, std::vector<std::string>* keywords);
bool TakeFetchItems(Cursor& in, std::vector<FetchItem>* out);
bool TakeSearchProgram(Cursor& in, SearchProgram* out);

}  // namespace gemel::imap
