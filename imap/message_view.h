// All that FETCH and SEARCH need of a message's bytes; the rest of imap/ includes this and none of the mime_ files.
//
//   FETCH ENVELOPE, BODY, BODYSTRUCTURE   CachedTexts of what AccountSession::CachedStructures gave; where that is
//                                         missing or of another version: Structure::Parse, then
//                                         CacheStructure(ToCache())
//   FETCH BODY[...], RFC822...            SectionReader
//   FETCH INTERNALDATE, APPEND            FormatInternalDate, ParseInternalDate
//   SEARCH                                SearchRun
//
// How it works: imap/MIME.md.
#pragma once
#include "imap/internal_date.h"
#include "imap/mime_structure.h"
#include "imap/search_run.h"
#include "imap/section.h"
