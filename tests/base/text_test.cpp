// What users and files give as text: errors of one line, numbers, JSON.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/number.h"
#include "tests/support/errors.h"

namespace mumoe {
namespace {

using testing::expect_input_error;

TEST(InputErrors, AreOneLineWhateverIsInThem) {
  EXPECT_EQ(InputError("a\nb\t\x1b[31mc\r\x7f é \xff").what(),
            std::string("a\\nb\\t\\x1b[31mc\\r\\x7f é \xff"));
  const std::string once = one_line("a \\ b\n");
  EXPECT_EQ(one_line(once), once) << "an error inside another";
  const std::string text =
      InputError(std::string(1 << 20, 'x') + ": expected y").what();
  EXPECT_LE(text.size(), 2000u);
  EXPECT_TRUE(text.ends_with(": expected y"));
  EXPECT_EQ(one_line(text), text);
}

TEST(Numbers, AreTheWholeTextAndExact) {
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(parse_number<std::uint64_t>("18446744073709551615"), kMost);
  EXPECT_EQ(parse_number<std::uint64_t>("9007199254740993"), 9007199254740993u);
  EXPECT_EQ(parse_number<std::int64_t>("-9223372036854775808"),
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(parse_number<double>("1e-3"), 1e-3);
  EXPECT_EQ(parse_number<double>("-.5"), -0.5);
  EXPECT_EQ(parse_number<double>("5e-324"), 5e-324);
  for (const char* text : {"",
                           " 1",
                           "1 ",
                           "+1",
                           "0x10",
                           "1e3",
                           "1.0",
                           "1,000",
                           "１",
                           "1\n",
                           "one",
                           "--1",
                           "nan",
                           "inf",
                           "1_000"}) {
    expect_input_error([&] { parse_number<std::int64_t>(text); },
                       {"expected a whole number"});
    expect_input_error([&] { parse_number<std::uint64_t>(text); },
                       {"a whole number, 0 to 18446744073709551615"});
  }
  for (const char* text : {"",
                           " 1",
                           "+1",
                           "0x1p3",
                           "1e",
                           "1e400",
                           "1e-400",
                           "nan",
                           "-nan",
                           "inf",
                           "-inf",
                           "infinity",
                           "1d3"}) {
    expect_input_error([&] { parse_number<double>(text); },
                       {"expected a finite number"});
  }
}

TEST(Numbers, ErrorsSayTheRange) {
  expect_input_error([] { parse_number<std::uint64_t>("-1"); },
                     {"expected a whole number, 0 to 18446744073709551615"});
  expect_input_error([] { parse_number<std::int64_t>("9223372036854775808"); },
                     {"-9223372036854775808 to 9223372036854775807"});
  expect_input_error([] { parse_number<int>("2147483648"); },
                     {"-2147483648 to 2147483647"});
  expect_input_error([] { parse_number(std::string_view("0"), 1, 9); },
                     {"expected a whole number, 1 to 9"});
  expect_input_error([] { parse_number<std::int64_t>("-1", 0); },
                     {"expected a whole number, 0 or more"});
  expect_input_error([] { parse_number<double>("-1", 0); },
                     {"expected a finite number, 0 or more"});
  expect_input_error([] { parse_number<double>("1e400"); }, {"1.79769e+308"});
}

TEST(Json, ThrowsInputErrorsAlone) {
  EXPECT_EQ(parse_json(R"({"a": [1, "b"]})", "f")["a"][1], "b");
  for (const std::string& text : {std::string(),
                                  std::string("{"),
                                  std::string("[1,]"),
                                  std::string("nul"),
                                  std::string("1e999"),
                                  std::string("{}\0", 3),
                                  std::string("\"\xe9\""),
                                  std::string("{} {}"),
                                  std::string(1'000'000, '[')}) {
    expect_input_error([&] { parse_json(text, "here: its text"); },
                       {"here: its text is not JSON"});
  }
  expect_input_error([] { parse_json(R"({"a":1,"b":{"a":1},"a":2})", "here"); },
                     {"here has two entries named a"});
  EXPECT_NO_THROW(parse_json(R"([{"a":1},{"a":2}])", "here"));
  // What is written by recursion must not be read without bounds.
  const auto nested = [](std::size_t times) {
    return std::string(times, '[') + std::string(times, ']');
  };
  EXPECT_NO_THROW(to_text(parse_json(nested(100), "here")));
  expect_input_error([&] { parse_json(nested(1'000'000), "here"); },
                     {"here is not JSON", "nested more than 100 times"});
}

TEST(Json, TextIsUtf8WhateverTheValues) {
  const std::string text = to_text({{"path", "caf\xe9/é\"\n"}});
  EXPECT_EQ(text, "{\"path\":\"caf\xef\xbf\xbd/é\\\"\\n\"}");
  EXPECT_NO_THROW(parse_json(text, "here"));
}

TEST(Json, CountsAreWholeNumbersWrittenAsSuch) {
  const auto count = [](const char* text) {
    return as_count(parse_json(text, "here"));
  };
  EXPECT_EQ(count("7"), 7);
  EXPECT_EQ(count("9223372036854775807"),
            std::numeric_limits<std::int64_t>::max());
  for (const char* text : {"-1",
                           "7.0",
                           "1e300",
                           "9223372036854775808",
                           "true",
                           "null",
                           "\"7\"",
                           "[7]",
                           "{}",
                           "99999999999999999999999"}) {
    EXPECT_EQ(count(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace mumoe
