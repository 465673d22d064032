#include <gtest/gtest.h>

#include "base/file.h"
#include "data/text/prepare.h"
#include "tests/data/texts.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

// Folders to write to that are there.

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

namespace fs = std::filesystem;

TEST(PrepareInto, TokenFilesOfOthersAreNotOverwritten) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const std::string other = write_texts(folder, "other");
  folder.write("other/30.txt", "One more.\n");
  const fs::path out = folder.path() / "out";
  prepare(in, ByteTokenizer(), out);
  const std::string before = read_file(out / "train.bin");
  expect_input_error([&] { prepare(other, ByteTokenizer(), out); },
                     {out.string(), in, other, "another folder"});
  expect_input_error([&] { prepare(in, *make_tokenizer("gpt2"), out); },
                     {out.string(), "bytes", "gpt2", "another folder"});
  EXPECT_EQ(read_file(out / "train.bin"), before);
  // The same source by another spelling.
  EXPECT_NO_THROW(prepare(in + "/../in/", ByteTokenizer(), out));
  // What another program wrote.
  folder.write("foreign/train.bin", std::string("a\0b\0", 4));
  expect_input_error(
      [&] { prepare(in, ByteTokenizer(), folder.path() / "foreign"); },
      {"foreign", "did not make"});
  EXPECT_FALSE(fs::exists(folder.path() / "foreign/prepare.lock"));
}

TEST(PrepareInto, AFolderOfTokensIsNotWrittenElsewhere) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const fs::path out = folder.path() / "out";
  const fs::path third = folder.path() / "third";
  prepare(in, ByteTokenizer(), out);
  expect_input_error([&] { prepare(out.string(), ByteTokenizer(), third); },
                     {out.string(), "token files", third.string()});
  EXPECT_FALSE(fs::exists(third));
  EXPECT_NO_THROW(prepare(out.string(), ByteTokenizer(), out));
  expect_input_error([&] { prepare(in, ByteTokenizer(), in); },
                     {in, "holds the texts"});
}

TEST(PrepareInto, ASourceThatIsNotUtf8IsKnownAgain) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "n\xff");
  const fs::path out = folder.path() / "out";
  EXPECT_EQ(prepare(in, ByteTokenizer(), out).source, in);
  EXPECT_EQ(prepare(in, ByteTokenizer(), out).source, in);
  folder.write("n\xff/10.txt", "Changed since, to another length.\n");
  expect_input_error([&] { prepare(in, ByteTokenizer(), out); },
                     {"prepared from other texts than are there now"});
}

TEST(PrepareInto, TextsThatChangedAreOtherTexts) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const fs::path out = folder.path() / "out";
  prepare(in, ByteTokenizer(), out);
  const auto held = [&] {
    return read_file(out / "train.bin") + read_file(out / "val.bin") +
           read_file(out / "dataset.json");
  };
  const std::string before = held();
  const auto refused = [&] {
    expect_input_error([&] { prepare(in, ByteTokenizer(), out); },
                       {out.string(),
                        "holds the token files of " + in,
                        "prepared from other texts",
                        "remove it first"});
    EXPECT_EQ(held(), before);
  };
  folder.write("in/12.txt", "Text 12 of some, and no less.\n");
  refused();
  folder.write("in/12.txt", "Text 12 of some, and no more.\n");
  EXPECT_FALSE(remade(in, out));
  folder.write("in/31.txt", "One more.\n");
  refused();
  fs::remove(folder.path() / "in/31.txt");
  // A split that is damaged holds nothing to lose, but what it was made of.
  folder.write("in/12.txt", "Of no text there.\n");
  fs::resize_file(out / "val.bin", 1030);
  expect_input_error([&] { prepare(in, ByteTokenizer(), out); },
                     {"prepared from other texts"});
}

TEST(PrepareInto, TheSameTextsFromElsewhereAreTheSame) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "a/in");
  const std::string copy = write_texts(folder, "b/in");
  const fs::path out = folder.path() / "out";
  prepare(in, ByteTokenizer(), out);
  EXPECT_FALSE(remade(copy, out));
}

TEST(PrepareInto, WhatIsInTheFolderStaysAsItIs) {
  const ScratchFolder folder;
  const std::string in = write_texts(folder, "in");
  const auto refused = [&](const std::string& name, const std::string& part) {
    const fs::path out = folder.path() / name;
    const auto count = std::distance(fs::directory_iterator(out), {});
    expect_input_error([&] { prepare(in, ByteTokenizer(), out); },
                       {out.string() + ": " + part, "another folder"});
    EXPECT_EQ(std::distance(fs::directory_iterator(out), {}), count) << name;
  };
  // Of another program, with token files of its own.
  folder.write("foreign/dataset.json", R"({"title": "mine"})");
  folder.write("foreign/train.bin", std::string("a\0b\0", 4));
  refused("foreign", "holds a dataset.json that mumoe data did not write");
  folder.write("list/dataset.json", R"([1, 2])");
  refused("list", "holds a dataset.json that mumoe data did not write");
  folder.write("texts/mine.txt", "Mine.\n");
  refused("texts", "holds texts (mine.txt)");
  folder.write("run/provenance.json", "{}");
  refused("run", "holds a run (provenance.json)");
  folder.write("file", "Mine.\n");
  expect_input_error(
      [&] { prepare(in, ByteTokenizer(), folder.path() / "file"); },
      {"file: cannot create"});
  EXPECT_EQ(read_file(folder.path() / "file"), "Mine.\n");
  // Other files are in nobody's way.
  folder.write("notes/README.md", "Mine.\n");
  EXPECT_NO_THROW(prepare(in, ByteTokenizer(), folder.path() / "notes"));
}

}  // namespace
}  // namespace mumoe::data
