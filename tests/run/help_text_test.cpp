#include "run/help_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "run/option_table.h"

namespace mumoe::run {
namespace {

/// Characters, not bytes, of its longest line.
std::size_t longest_line(const std::string& text) {
  std::istringstream in(text);
  std::size_t longest = 0;
  for (std::string line; std::getline(in, line);) {
    const auto length = std::ranges::count_if(line, [](unsigned char c) {
      return (c & 0xC0) != 0x80;
    });
    longest = std::max(longest, static_cast<std::size_t>(length));
  }
  return longest;
}

/// Blanks and line breaks are one blank.
std::string unwrap(const std::string& text) {
  std::istringstream in(text);
  std::string all;
  for (std::string word; in >> word;) all += word + " ";
  return all;
}

TEST(HelpText, KeepsWithinTheColumnsAndUsesThem) {
  for (const std::size_t columns : {40, 41, 60, 71, 72, 80, 100, 200}) {
    HelpText help(columns);
    help.keys("*").command("mumoe train [--config FILE] [--section.key value]");
    EXPECT_LE(longest_line(help.text()), columns);
    EXPECT_GT(longest_line(help.text()), columns - 12) << columns;
  }
  HelpText narrow(10);
  EXPECT_LE(longest_line(narrow.keys("*").text()), 40u);
}

TEST(HelpText, HasEveryKeyWithItsValuesAndDefaultUnderItsSection) {
  for (const std::size_t columns : {60, 80}) {
    HelpText help(columns);
    const std::string text = unwrap(help.keys("*").text());
    const Options defaults = Draft().unresolved();
    std::size_t last = 0;
    for (const Key& key : option_table()) {
      SCOPED_TRACE(key.name);
      EXPECT_FALSE(key.text.value.empty());
      std::string words;
      for (const Word& word : key.text.words) {
        if (key.text.is_switch) continue;  // yes|no stands beside the key
        words += (words.empty() ? ": " : ", ") + word.name;
      }
      const auto value = key.text.get(defaults);
      const auto at =
          text.find("--" + key.name + " " + key.text.value + " " + key.help +
                    words + " [" + (value.empty() ? "empty" : value) + "] ");
      ASSERT_NE(at, std::string::npos) << text;
      EXPECT_GE(at, last) << "out of order";
      last = at;
      const auto section = key.name.substr(0, key.name.find('.'));
      EXPECT_LT(text.find("[" + section + "] "), at);
    }
  }
}

TEST(HelpText, WordsAreThoseThatAreTaken) {
  std::size_t with_words = 0;
  for (const Key& key : option_table()) {
    Options options = Draft().unresolved();
    for (const Word& word : key.text.words) {
      key.text.set(options, word.name);
      EXPECT_EQ(key.text.get(options), word.name) << key.name;
    }
    with_words += key.text.words.empty() ? 0 : 1;
  }
  EXPECT_GE(with_words, 12u);
}

TEST(HelpText, ASectionAlone) {
  HelpText help(80);
  const std::string text = help.keys("data").text();
  EXPECT_NE(text.find("--data.tokenizer WORD"), std::string::npos);
  EXPECT_EQ(text.find("--model."), std::string::npos);
  HelpText none(80);
  EXPECT_EQ(none.keys("").text(), "");
}

TEST(HelpText, BracketsAreNotParted) {
  HelpText help(40);
  EXPECT_EQ(
      help.command("mumoe sample --run FOLDER [--prompt TEXT] [-h]").text(),
      "  mumoe sample --run FOLDER\n      [--prompt TEXT] [-h]\n");
}

}  // namespace
}  // namespace mumoe::run
