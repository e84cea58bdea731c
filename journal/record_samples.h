// Records with every field set, for tests, fuzz seeds and golden files. Deterministic.
#pragma once
#include <random>
#include <string>
#include <vector>

#include "journal/record.h"

namespace gemel::journal {

// One record of each type, in the order of RecordBody, all with distinct values.
std::vector<Record> SampleRecords(Hlc base);

// A record of random type and content. `rng` decides everything.
Record RandomRecord(std::mt19937_64& rng, Hlc base);

}  // namespace gemel::journal
