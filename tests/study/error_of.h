#pragma once

#include <string>

#include "base/error.h"

namespace mumoe::testing {

/// What the `InputError` says that `action` throws; empty: it throws none.
template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return {};
}

}  // namespace mumoe::testing
