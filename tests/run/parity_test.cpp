// Which bytes share a sum, and files that are rebuilt from the others.
#include "run/parity.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/file.h"
#include "base/random.h"
#include "run/manifest.h"
#include "run/rebuild.h"
#include "run/repair.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using testing::expect_input_error;
using testing::ScratchFolder;

const CounterRandom& numbers() {
  static const CounterRandom random(3, Purpose::test);
  return random;
}

std::string random_bytes(std::int64_t count, std::uint64_t stream) {
  const CounterRandom random(4, Purpose::test, stream);
  std::string bytes(static_cast<std::size_t>(count), '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i % 4 == 0) {
      const auto drawn = random.bits(i / 4)[0];
      for (std::size_t b = 0; b < 4 && i + b < bytes.size(); ++b) {
        bytes[i + b] = static_cast<char>(drawn >> (8 * b));
      }
    }
  }
  return bytes;
}

/// Files in memory, with the sums that a layout asks for.
struct Files {
  Files(const std::vector<std::int64_t>& lengths, std::int64_t unit)
      : ranks(lengths.size()), unit(unit), layout(lengths, unit) {
    for (std::size_t i = 0; i < ranks; ++i) {
      bytes.push_back(random_bytes(lengths[i], i));
    }
    for (std::size_t s = 0; s < ranks; ++s) {
      auto parts = layout.stripe(s);
      std::string sum;
      if (!parts.empty()) {
        sum.resize(static_cast<std::size_t>(parts.back().bytes));
        parts.pop_back();
      }
      for (const ParityPart& part : parts) xor_into(sum, text(part));
      bytes.push_back(sum);
    }
  }

  std::string_view text(const ParityPart& part) const {
    return std::string_view(bytes[part.file])
        .substr(static_cast<std::size_t>(part.begin),
                static_cast<std::size_t>(part.bytes));
  }

  /// Of the others; of those of `lost` nothing may be asked.
  std::string rebuilt(std::size_t file, const std::set<std::size_t>& lost) {
    std::string all;
    const std::int64_t size = layout.bytes(file);
    for (std::int64_t begin = 0; begin < size; begin += unit) {
      std::string block(static_cast<std::size_t>(std::min(unit, size - begin)),
                        '\0');
      for (const ParityPart& part : layout.others(file, begin / unit)) {
        EXPECT_FALSE(lost.contains(part.file)) << part.file;
        EXPECT_LE(part.bytes, unit);
        xor_into(block, text(part));
      }
      all += block;
    }
    return all;
  }

  std::size_t ranks;
  std::int64_t unit;
  ParityLayout layout;
  std::vector<std::string> bytes;
};

/// Lengths that differ, among them none, one byte, and those about chunks.
std::vector<std::vector<std::int64_t>> lengths_of_ranks(int ranks) {
  std::vector<std::vector<std::int64_t>> all;
  const auto count = static_cast<std::size_t>(ranks);
  all.emplace_back(count, 0);
  all.emplace_back(count, 1);
  all.emplace_back(count, 24);
  auto one = std::vector<std::int64_t>(count, 0);
  one[count / 2] = 1;
  all.push_back(one);
  one[count - 1] = 17;
  all.push_back(one);
  for (std::uint64_t draw = 0; draw < 12; ++draw) {
    std::vector<std::int64_t> lengths;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t index = (draw * 16 + i) * 16 + count;
      lengths.push_back(static_cast<std::int64_t>(numbers().below(index, 60)));
    }
    all.push_back(lengths);
  }
  return all;
}

template <class Check>
void for_all_layouts(const Check& check) {
  for (int ranks = 1; ranks <= 9; ++ranks) {
    for (const auto& lengths : lengths_of_ranks(ranks)) {
      for (const std::int64_t unit : {1, 4, 7, 64}) {
        SCOPED_TRACE(
            fmt::format("{} of unit {}", fmt::join(lengths, " "), unit));
        Files files(lengths, unit);
        check(files);
      }
    }
  }
}

TEST(Parity, AnyFileAndWhatOneRankWroteComeBackFromTheOthers) {
  for_all_layouts([](Files& files) {
    const std::size_t ranks = files.ranks;
    for (std::size_t i = 0; i < 2 * ranks; ++i) {
      std::set<std::size_t> lost{i};
      // Of one rank alone nothing is left but its copy.
      if (ranks > 1) lost = {i % ranks, i % ranks + ranks};
      EXPECT_EQ(files.rebuilt(i, lost), files.bytes[i]) << i;
    }
  });
}

TEST(Parity, EveryByteOfAFileIsInOneStripe) {
  for_all_layouts([](Files& files) {
    std::vector<std::int64_t> next(files.ranks, 0);
    for (std::size_t s = 0; s < files.ranks; ++s) {
      std::int64_t longest = 0;
      auto parts = files.layout.stripe(s);
      for (const ParityPart& part : parts) {
        EXPECT_GT(part.bytes, 0);
        if (part.file >= files.ranks) continue;
        EXPECT_EQ(part.begin, next[part.file]);
        next[part.file] += part.bytes;
        longest = std::max(longest, part.bytes);
      }
      EXPECT_EQ(files.layout.bytes(files.ranks + s), longest);
    }
    for (std::size_t i = 0; i < files.ranks; ++i) {
      EXPECT_EQ(next[i], files.layout.bytes(i));
    }
  });
}

TEST(Parity, CostsAShareOfTheLongestFileUpToAUnit) {
  for_all_layouts([](Files& files) {
    std::int64_t longest = 0;
    for (std::size_t i = 0; i < files.ranks; ++i) {
      longest = std::max(longest, files.layout.bytes(i));
    }
    const auto shares =
        std::max<std::int64_t>(1, static_cast<std::int64_t>(files.ranks) - 1);
    for (std::size_t s = 0; s < files.ranks; ++s) {
      const std::int64_t bytes = files.layout.bytes(files.ranks + s);
      EXPECT_LT(bytes, (longest + shares - 1) / shares + files.unit);
      EXPECT_LE(bytes, longest);
    }
  });
}

TEST(Parity, FilesClashThatAreNeededForEachOther) {
  for_all_layouts([](Files& files) {
    for (std::size_t a = 0; a < 2 * files.ranks; ++a) {
      for (std::size_t b = a + 1; b < 2 * files.ranks; ++b) {
        bool needed = false;
        for (const std::size_t file : {a, b}) {
          const std::int64_t size = files.layout.bytes(file);
          for (std::int64_t at = 0; at < size; at += files.unit) {
            for (const auto& part :
                 files.layout.others(file, at / files.unit)) {
              needed = needed || part.file == (file == a ? b : a);
            }
          }
        }
        const std::vector<std::size_t> lost{a, b};
        const auto clash = files.layout.clash(lost);
        // Files of one stripe may have no byte at one place of it.
        EXPECT_TRUE(!needed || clash.has_value()) << a << " " << b;
        if (clash) {
          EXPECT_EQ(*clash, std::pair(a, b));
        }
        const bool of_one_rank = a + files.ranks == b && files.ranks > 1;
        EXPECT_FALSE(of_one_rank && clash) << a;
      }
    }
  });
}

TEST(Parity, SumsGoAsFarAsTheyAreLong) {
  std::string sum = random_bytes(21, 1);
  const std::string first = sum, longer = random_bytes(33, 2);
  xor_into(sum, longer);
  for (std::size_t i = 0; i < sum.size(); ++i) {
    EXPECT_EQ(sum[i], static_cast<char>(first[i] ^ longer[i]));
  }
  xor_into(sum, longer.substr(0, 5));
  EXPECT_EQ(sum.substr(0, 5), first.substr(0, 5));
  EXPECT_NE(sum.substr(5), first.substr(5));
}

// ---- Files on disk, of lengths about those of blocks

/// A checkpoint without tensors.
Manifest write_files(const fs::path& folder,
                     const std::vector<std::int64_t>& lengths) {
  Manifest manifest{.state = {.step = 3},
                    .mesh = {static_cast<int>(lengths.size()), 1},
                    .files = {},
                    .tensors = {}};
  Disk& disk = real_disk();
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    BlockHasher hasher;
    const std::string bytes = random_bytes(lengths[i], i);
    hasher.add(bytes);
    manifest.files.push_back(
        hasher.finish(fmt::format("rank_{:05}.safetensors", i)));
    disk.write_file(folder / manifest.files[i].name, bytes);
  }
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    manifest.parity.push_back(
        write_parity(disk, folder, static_cast<int>(i), manifest.files));
  }
  disk.write_file(folder / kManifest, manifest_text(manifest));
  return manifest;
}

std::vector<std::vector<std::int64_t>> lengths_about_blocks() {
  const std::int64_t b = kBlockBytes;
  return {{3 * b + 5},
          {b, b + 1},
          {0, 1, b},
          {2 * b + 1, 0, 2 * b - 1, b / 2},
          {1, 0, 0, 5 * b + 7, 0}};
}

TEST(ParityFiles, LostOnesAreReadAndWrittenAgainAsTheyWere) {
  for (const auto& lengths : lengths_about_blocks()) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(lengths, " ")));
    const ScratchFolder folder;
    const Manifest written = write_files(folder.path(), lengths);
    const Manifest manifest = read_manifest(folder.path());
    EXPECT_EQ(manifest.parity, written.parity);
    EXPECT_TRUE(repair_checkpoint(folder.path()).empty());
    const std::size_t ranks = lengths.size();
    for (std::size_t i = 0; i < ranks; ++i) {
      Rebuilder rebuilder(folder.path(), manifest);
      const fs::path file = folder.path() / rebuilder.file(i).name;
      const fs::path sum = folder.path() / rebuilder.file(ranks + i).name;
      const std::string bytes = read_file(file), sums = read_file(sum);
      fs::remove(file);
      if (ranks > 1) fs::remove(sum);
      std::string read(bytes.size(), '\0');
      CheckedReader(folder.path(), rebuilder.file(i), rebuilder.of(i))
          .read(0, read, "all");
      EXPECT_TRUE(read == bytes);
      EXPECT_FALSE(fs::exists(file));
      EXPECT_EQ(rebuilt_lines(rebuilder.rebuilt()).size(),
                bytes.empty() ? 0 : 1);
      EXPECT_EQ(repair_checkpoint(folder.path()).size(), ranks > 1 ? 2 : 1);
      EXPECT_TRUE(read_file(file) == bytes);
      EXPECT_TRUE(read_file(sum) == sums);
    }
  }
}

TEST(ParityFiles, SumsOfOtherBytesRebuildNothing) {
  const ScratchFolder folder;
  Manifest manifest = write_files(folder.path(), {70, 80, 90});
  // File 0 is in the sums of parity file 1 alone.
  BlockHasher hasher;
  const std::string other = random_bytes(manifest.parity[1].bytes, 77);
  hasher.add(other);
  manifest.parity[1] = hasher.finish(manifest.parity[1].name);
  fs::remove(folder.path() / manifest.parity[1].name);
  folder.write(manifest.parity[1].name, other);
  fs::remove(folder.path() / manifest.files[0].name);
  Rebuilder rebuilder(folder.path(), manifest);
  CheckedReader reader(folder.path(), manifest.files[0], rebuilder.of(0));
  expect_input_error([&] { reader.check(); },
                     {manifest.files[0].name, "the others give other bytes"});
  EXPECT_TRUE(rebuilder.rebuilt().empty());
}

TEST(ParityFiles, AManifestWhoseSumsAreOfOtherFilesIsRefused) {
  const ScratchFolder folder;
  const Manifest whole = write_files(folder.path(), {70, 80, 90});
  const auto expect_refused = [&](auto change) {
    Manifest other = whole;
    change(other);
    expect_input_error([&] { parse_manifest(manifest_text(other), "it"); },
                       {"it: parity"});
  };
  EXPECT_EQ(parse_manifest(manifest_text(whole), "it").parity, whole.parity);
  expect_refused([](Manifest& m) { m.parity.pop_back(); });
  expect_refused([](Manifest& m) { m.parity[0].bytes -= 1; });
  expect_refused([](Manifest& m) { m.files[2].bytes += 7; });
  expect_refused([](Manifest& m) { std::swap(m.files[0], m.files[2]); });
}

}  // namespace
}  // namespace mumoe::run
