// precompiled.h for test programs.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/precompiled.h"
