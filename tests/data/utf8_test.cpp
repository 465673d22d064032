#include "data/text/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mumoe::data {
namespace {

TEST(Utf8, BytesOfAnUnfinishedCharacterAreCounted) {
  EXPECT_EQ(unfinished_utf8(""), 0u);
  EXPECT_EQ(unfinished_utf8("a"), 0u);
  EXPECT_EQ(unfinished_utf8("a\xC3"), 1u);
  EXPECT_EQ(unfinished_utf8("a\xC3\xA9"), 0u);
  EXPECT_EQ(unfinished_utf8("\xE2\x82"), 2u);
  EXPECT_EQ(unfinished_utf8("\xE2\x82\xAC"), 0u);
  EXPECT_EQ(unfinished_utf8("\xF0\x9F\x98"), 3u);
  EXPECT_EQ(unfinished_utf8("\xF0\x9F\x98\x80"), 0u);
}

TEST(Utf8, WhatCanBecomeNoCharacterIsNotWaitedFor) {
  for (const std::string text : {"\x80",          // no lead
                                 "\xC0",          // too long a form
                                 "\xFF",          // no lead either
                                 "\xE0\x80",      // too long a form
                                 "\xED\xA0",      // a surrogate
                                 "\xF0\x8F",      // too long a form
                                 "\xF4\x90",      // beyond U+10FFFF
                                 "\xC3\xA9\x80",  // one byte too many
                                 "\x80\x80\x80\x80"}) {
    EXPECT_EQ(unfinished_utf8(text), 0u) << text;
  }
}

TEST(Utf8, PiecesOfOneByteComeOutAsWholeCharacters) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 \xFF\xC3(z";
  WholeCharacters characters;
  std::vector<std::string> pieces;
  std::string all;
  for (const char c : text) {
    const std::string piece = characters.take({&c, 1});
    if (!piece.empty()) pieces.push_back(piece);
    all += piece;
  }
  EXPECT_EQ(all, text);
  const std::vector<std::string> whole = {"a",
                                          "\xC3\xA9",
                                          "\xE2\x82\xAC",
                                          "\xF0\x9F\x98\x80",
                                          " ",
                                          "\xFF",
                                          "\xC3(",
                                          "z"};
  EXPECT_EQ(pieces, whole);
}

}  // namespace
}  // namespace mumoe::data
