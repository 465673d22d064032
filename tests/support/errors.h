#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "base/error.h"

namespace mumoe::testing {

/// `action` throws an `InputError` of one line that holds all of `parts`.
template <class Action>
void expect_input_error(Action action,
                        std::initializer_list<std::string> parts) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    for (const std::string& part : parts) {
      EXPECT_NE(text.find(part), std::string::npos)
          << "\"" << part << "\" is not in: " << text;
    }
  }
}

}  // namespace mumoe::testing
