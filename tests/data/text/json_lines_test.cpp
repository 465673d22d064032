#include "data/text/json_lines.h"

#include <fmt/format.h>

#include "base/file.h"
#include "data/text/prepare.h"
#include "tests/data/text/gzip.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

namespace fs = std::filesystem;

std::string text_of(const Split& split) {
  std::string text;
  for (const TokenFile& file : split.open()) {
    for (const auto token : file.tokens()) {
      text += token == 0 ? '|' : static_cast<char>(token);
    }
  }
  return text;
}

PreparedData prepare_in(const ScratchFolder& folder,
                        const PrepareOptions& options = {}) {
  PrepareOptions own = options;
  own.out_folder = folder.path() / "out";
  return prepare((folder.path() / "in").string(), ByteTokenizer(), own);
}

TEST(JsonLines, TheFieldIsFoundAtTheTopOnly) {
  const auto text = [](std::string_view line) {
    return text_of_line(line, "text", "f line 1");
  };
  EXPECT_EQ(text(R"({"text": "a\nb"})"), "a\nb");
  EXPECT_EQ(text(R"({"meta": {"text": "no"}, "n": [1, {"text": 2}],)"
                 R"( "text": "\u00e9 \ud83d\ude00"})"),
            "\xc3\xa9 \xf0\x9f\x98\x80");
  EXPECT_EQ(text("{\"text\": \"\"}\r"), "");
}

TEST(JsonLines, WhatIsWrongIsPlacedInTheLine) {
  const auto refuse = [](std::string_view line,
                         std::initializer_list<std::string> parts) {
    const auto read = [&] { text_of_line(line, "text", "f.jsonl line 7"); };
    expect_input_error(read, {"f.jsonl line 7", "expected"});
    expect_input_error(read, parts);
  };
  refuse(R"({"text": "a")", {"byte 13", "unexpected end"});
  refuse("{\"text\": \"a\xff\"}", {"byte 12", "UTF-8"});
  refuse(R"({"text": "a"} x)", {"byte 15"});
  refuse(R"(["text"])", {"no JSON object"});
  refuse(R"("text")", {"no JSON object"});
  refuse(R"({"title": "a", "body": "b"})",
         {"no field text (it has title, body)", "data.field"});
  refuse("{}", {"no field text (none at all)"});
  refuse(R"({"meta": {"text": "a"}})", {"no field text (it has meta)"});
  refuse(R"({"text": 5})", {"field text is a number"});
  refuse(R"({"text": null})", {"field text is null"});
  refuse(R"({"text": ["a"]})", {"field text is an array"});
  refuse(R"({"text": {"a": "b"}})", {"field text is an object"});
  refuse(R"({"text": "a\u0000b"})", {"zero character at byte 1"});
}

TEST(JsonLines, EachLineIsADocumentAndFilesAreInOrder) {
  const ScratchFolder folder;
  std::string lines;
  for (char c = 'a'; c < 'a' + 12; ++c) {
    lines +=
        fmt::format("{{\"id\": 1, \"text\": \"{}\"}}\n\n", std::string(2, c));
  }
  folder.write("in/b.jsonl", lines);
  write_gzip(folder.path() / "in/c.JSONL.gz", "{\"text\": \"mm\"}");
  write_gzip(folder.path() / "in/a.txt.gz", "zz");
  const auto data = prepare_in(folder);
  EXPECT_EQ(text_of(data.val), "zz|jj|");
  EXPECT_EQ(text_of(data.train), "aa|bb|cc|dd|ee|ff|gg|hh|ii|kk|ll|mm|");
  EXPECT_EQ(data.train.documents, 12u);
  EXPECT_EQ(data.val.bytes, 4u);
}

TEST(JsonLines, AnotherFieldIsAnotherCorpus) {
  const ScratchFolder folder;
  std::string lines;
  for (int i = 0; i < 20; ++i) {
    lines +=
        fmt::format("{{\"text\": \"t{0:02}\", \"body\": \"b{0:02}\"}}\n", i);
  }
  folder.write("in/a.jsonl", lines);
  EXPECT_TRUE(text_of(prepare_in(folder).val).starts_with("t00|"));
  // The same folder to write to.
  expect_input_error([&] { prepare_in(folder, {.field = "body"}); },
                     {"prepared from other texts"});
  fs::remove_all(folder.path() / "out");
  EXPECT_TRUE(
      text_of(prepare_in(folder, {.field = "body"}).val).starts_with("b00|"));
  fs::remove_all(folder.path() / "out");
  expect_input_error([&] { prepare_in(folder, {.field = "title"}); },
                     {"a.jsonl line 1", "no field title (it has text, body)"});
}

TEST(JsonLines, EmptyTextsAreSkippedAndCounted) {
  const ScratchFolder folder;
  std::string lines;
  for (int i = 0; i < 30; ++i) {
    lines += i % 3 == 0 ? "{\"text\": \"\"}\n" : "{\"text\": \"abc\"}\n";
  }
  folder.write("in/a.jsonl", lines);
  const auto data = prepare_in(folder);
  EXPECT_EQ(data.train.documents + data.val.documents, 20u);
  EXPECT_EQ(data.train.tokens + data.val.tokens, 80u);
  EXPECT_EQ(data.notes.at(data.notes[0].starts_with("10") ? 0 : 1),
            "10 texts are empty, skipped");
}

TEST(JsonLines, AFileWithoutDocumentsIsNamed) {
  const ScratchFolder folder;
  folder.write("in/a.jsonl", "\n \r\n");
  expect_input_error([&] { prepare_in(folder); }, {"a.jsonl", "no document"});
}

TEST(JsonLines, ABrokenLineFarInIsNamedWhateverTheThreads) {
  const ScratchFolder folder;
  std::string lines;
  const std::string line = "{\"text\": \"" + std::string(90, 'x') + "\"}\n";
  for (int i = 0; i < 60000; ++i) lines += line;
  const std::size_t at = lines.size();
  lines += "{\"text\": \"x\n" + line + "{\"text\": 3}\n" + line;
  folder.write("in/a.jsonl", lines);
  for (const unsigned threads : {1, 4}) {
    expect_input_error([&] { prepare_in(folder, {.threads = threads}); },
                       {"a.jsonl line 60001, byte", "expected a JSON object"});
  }
  EXPECT_FALSE(fs::exists(folder.path() / "out"));
  // Of a text: offset, beyond the first block.
  fs::remove(folder.path() / "in/a.jsonl");
  lines[at] = '\0';
  folder.write("in/a.txt", lines);
  expect_input_error([&] { prepare_in(folder); },
                     {"a.txt", fmt::format("zero byte at offset {}", at)});
}

TEST(JsonLines, ALineOf10MbWorksAndOneOf64MbIsNamed) {
  const ScratchFolder folder;
  std::string text;
  while (text.size() < 10'000'000) text += "some words, ";
  folder.write("in/a.jsonl",
               "{\"text\": \"first\"}\n{\"text\": \"" + text + "\"}\n");
  const auto data = prepare_in(folder);
  EXPECT_EQ(data.train.bytes + data.val.bytes, text.size() + 5);
  folder.write("in/a.jsonl",
               "{}\n{\"text\": \"" + std::string(70 << 20, 'x') + "\"}\n");
  expect_input_error([&] { read_corpus(folder.path() / "in").survey(1); },
                     {"a.jsonl line 1", "no field"});
  folder.write("in/a.jsonl",
               "\n{\"text\": \"" + std::string(70 << 20, 'x') + "\"}\n");
  expect_input_error([&] { read_corpus(folder.path() / "in").survey(1); },
                     {"a.jsonl line 2", "longer than 64 MiB"});
}

TEST(Gzip, DamageIsNamed) {
  const ScratchFolder folder;
  const auto survey = [&] { read_corpus(folder.path()).survey(); };
  folder.write("a.txt.gz", "plain text");
  expect_input_error(survey, {"a.txt.gz", "not packed by gzip"});
  write_gzip(folder.path() / "a.txt.gz", std::string(100'000, 'x') + "end");
  const std::string whole = read_file(folder.path() / "a.txt.gz");
  EXPECT_NO_THROW(survey());
  folder.write("a.txt.gz", whole.substr(0, whole.size() / 2));
  expect_input_error(survey, {"a.txt.gz", "damaged or cut short"});
  std::string flipped = whole;
  flipped[flipped.size() - 6] ^= 1;  // of the checksum
  folder.write("a.txt.gz", flipped);
  expect_input_error(survey, {"a.txt.gz", "damaged or cut short"});
}

}  // namespace
}  // namespace mumoe::data
