#include "data/text/corpus.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

namespace fs = std::filesystem;

std::vector<std::string> names_of(const Corpus& corpus) {
  std::vector<std::string> names;
  for (const auto& document : corpus.documents) names.push_back(document.name);
  return names;
}
using Names = std::vector<std::string>;

TEST(CorpusFolder, LinksAreFollowedAndCountOnce) {
  const ScratchFolder folder;
  const fs::path in = folder.path() / "in";
  folder.write("in/z/real.txt", "a");
  folder.write("other/far.txt", "b");
  folder.write("other/deep/er.txt", "c");
  fs::create_directory_symlink("../other", in / "more");
  fs::create_directory_symlink("z", in / "a_link_to_z");
  fs::create_symlink("z/real.txt", in / "a.txt");
  fs::create_symlink("../other/far.txt", in / "zz.txt");
  const Corpus corpus = read_corpus(in);
  EXPECT_EQ(names_of(corpus),
            (Names{"more/deep/er.txt", "more/far.txt", "z/real.txt"}));
  EXPECT_EQ(corpus.skipped,
            "skipped 3: 3 reached twice (a.txt, a_link_to_z, zz.txt)");
}

TEST(CorpusFolder, LinksInACircleEnd) {
  const ScratchFolder folder;
  const fs::path in = folder.path() / "in";
  folder.write("in/sub/a.txt", "a");
  folder.write("beside.txt", "not in it");
  fs::create_directory_symlink("..", in / "sub" / "up");
  fs::create_directory_symlink("..", in / "out");
  fs::create_symlink("self.txt", in / "self.txt");
  fs::create_symlink("nowhere.txt", in / "gone.txt");
  fs::create_symlink("sub/a.txt/b.txt", in / "under_a_file.txt");
  const Corpus corpus = read_corpus(in);
  EXPECT_EQ(names_of(corpus), (Names{"sub/a.txt"}));
  EXPECT_EQ(corpus.skipped,
            "skipped 5: 2 dangling link (gone.txt, under_a_file.txt), "
            "2 link in a circle (out, self.txt), 1 reached twice (sub/up)");
}

TEST(CorpusFolder, WhatIsHiddenOrNoTextIsToldAndBounded) {
  const ScratchFolder folder;
  folder.write("a.txt", "a");
  folder.write("B.TXT", "b");
  folder.write("._a.txt", "resource fork");
  folder.write(".ipynb_checkpoints/a-checkpoint.txt", "older");
  folder.write("empty.txt", "");
  for (int i = 0; i < 50; ++i) folder.write(fmt::format("n{}.md", i), "x");
  folder.write("x\ny\xff.pdf", "x");
  folder.write(std::string(200, 'l') + ".gz", "x");
  const Corpus corpus = read_corpus(folder.path());
  EXPECT_EQ(names_of(corpus), (Names{"B.TXT", "a.txt"}));
  EXPECT_TRUE(corpus.skipped.starts_with(
      "skipped 55: 2 hidden (._a.txt, .ipynb_checkpoints), "
      "1 empty (empty.txt), 52 not .txt (...lll"))
      << corpus.skipped;
  EXPECT_TRUE(corpus.skipped.ends_with(", ...)")) << corpus.skipped;
  EXPECT_LT(corpus.skipped.size(), 400u);
}

TEST(CorpusFolder, NamesAreToldInOneLine) {
  const ScratchFolder folder;
  folder.write("a.txt", "a");
  folder.write("x\ny\xff.pdf", "x");
  EXPECT_EQ(read_corpus(folder.path()).skipped,
            "skipped 1: 1 not .txt (x\\ny\\xff.pdf)");
}

TEST(CorpusFolder, PipesSocketsAndFoldersNamedTxtDoNotHang) {
  const ScratchFolder folder;
  folder.write("real.txt", "a");
  folder.write("folder.txt/inner.txt", "b");
  ASSERT_EQ(::mkfifo((folder.path() / "pipe.txt").c_str(), 0644), 0);
  ASSERT_EQ(::mkfifo((folder.path() / "train").c_str(), 0644), 0);
  fs::create_symlink("/dev/zero", folder.path() / "zeros.txt");
  const Corpus corpus = read_corpus(folder.path());
  EXPECT_EQ(names_of(corpus), (Names{"folder.txt/inner.txt", "real.txt"}));
  EXPECT_EQ(
      corpus.skipped,
      "skipped 3: 2 not a file (pipe.txt, zeros.txt), 1 not .txt (train)");
}

TEST(CorpusFolder, WhatCannotBeLookedAtIsRefused) {
  const ScratchFolder folder;
  folder.write("a.txt", "a");
  fs::create_symlink(std::string(300, 'x'), folder.path() / "b.txt");
  expect_input_error([&] { read_corpus(folder.path()); },
                     {(folder.path() / "b.txt").string(), "too long"});
}

TEST(CorpusFolder, WithoutTextSaysWhatIsThereInstead) {
  const ScratchFolder folder;
  folder.write("train.npy", "x");
  fs::create_symlink("nowhere", folder.path() / "b.txt");
  expect_input_error(
      [&] { read_corpus(folder.path()); },
      {"no text", "1 not .txt (train.npy)", "1 dangling link (b.txt)"});
}

TEST(CorpusTexts, InvalidBytesAreCountedAndPlaced) {
  const ScratchFolder folder;
  std::string text(1000, 'a');
  folder.write("a.txt", text);
  text[700] = '\xe9';
  text[800] = '\xff';
  folder.write("b.txt", text);
  folder.write("c.txt", "\xef\xbb\xbf" + std::string("marked"));
  EXPECT_EQ(read_corpus(folder.path()).survey().notes,
            (Names{"2 bytes in 1 text are not UTF-8, the first in b.txt at "
                   "offset 700; they are kept as they are",
                   "1 text begins with a byte order mark, which is kept as "
                   "text"}));
}

TEST(CorpusTexts, OtherFormsAreNamed) {
  using namespace std::string_view_literals;
  const ScratchFolder folder;
  const auto refuse = [&](std::string_view bytes,
                          std::initializer_list<std::string> parts) {
    folder.write("in/bad.txt", bytes);
    expect_input_error([&] { read_corpus(folder.path() / "in").survey(); },
                       parts);
    expect_input_error([&] { read_corpus(folder.path() / "in").survey(); },
                       {"bad.txt", "expected"});
  };
  refuse("\xff\xfeh\0i\0"sv, {"UTF-16", "iconv"});
  refuse("\xfe\xff\0h\0i"sv, {"UTF-16"});
  refuse("\xff\xfe\0\0h\0\0\0"sv, {"UTF-32"});
  refuse("h\0e\0l\0l\0o\0"sv, {"UTF-16"});
  refuse("\x1f\x8b\x08\0\0\0\0\0"sv, {"gzip"});
  refuse("PK\3\4 and so on"sv, {"zip"});
  refuse("%PDF-1.7\n"sv, {"PDF"});
  refuse("some text\0 and more"sv, {"zero byte", "offset 9"});
  refuse("na\xefve caf\xe9, gar\xe7on, \xe0 bient\xf4t"sv,
         {"5 of its 29 bytes", "offset 2", "ISO-8859-1"});
}

TEST(CorpusTexts, CleanTextOfAnyScriptHasNothingOdd) {
  const ScratchFolder folder;
  folder.write(
      "a.txt",
      "na\xc3\xafve\r\n\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x99\x82\t\x1b[0m");
  EXPECT_TRUE(read_corpus(folder.path()).survey().notes.empty());
}

}  // namespace
}  // namespace mumoe::data
