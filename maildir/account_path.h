// Where an account lies: <root>/accounts/<domain>/<local>, percent-encoded, in lower case.
#pragma once
#include <string>
#include <string_view>

namespace gemel::maildir {

// "example.test/ann" for "Ann@Example.test". Never climbs: no '/', no leading '.', nothing but printable ASCII comes
// through unencoded. Names too long for a directory are cut and end in a hash. A name without '@' has the domain "%".
std::string AccountPath(std::string_view address);

}  // namespace gemel::maildir
