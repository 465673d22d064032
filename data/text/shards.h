#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace mumoe::data {

/// A place in the blocks of a corpus (`BlockReader`): a token of those that a
/// block gives a split.
struct BlockPlace {
  std::uint64_t block = 0;
  std::uint64_t token = 0;
};

/// A token file that is written.
struct Shard {
  std::string file;  ///< Its name in the folder.
  std::uint64_t tokens = 0;
  std::string hash;  ///< `TokenFile::hash`
  BlockPlace end;    ///< Of the first token that is not in it.
};

/// Writes the tokens of a split into files of at most so many: train.bin, if
/// one is enough, else train_000000.bin, train_000001.bin, ..., of which all
/// but the last are full. A file appears whole or not at all. Holds at most the
/// tokens of one file and of one block.
class ShardWriter {
 public:
  /// Of `split` ("train") in `folder`, behind the files that are `made`.
  /// `on_shard` is called after each further one.
  ShardWriter(std::filesystem::path folder,
              std::string split,
              std::uint64_t limit,
              std::vector<Shard> made,
              std::function<void()> on_shard);

  /// The first token that is not in the files made: it needs none before.
  BlockPlace needed_from() const;

  /// The tokens of the next block, all of them; those that are in files made
  /// are passed over, and may be missing where the whole block is.
  void add(std::uint64_t block, std::span<const std::uint16_t> tokens);

  /// Writes the last file; throws `InputError` when there is no token at all.
  void finish();

  const std::vector<Shard>& shards() const { return shards_; }

 private:
  void write(const std::string& name, std::uint64_t count, BlockPlace end);
  std::string next_name() const;

  std::filesystem::path folder_;
  std::string split_;
  std::uint64_t limit_;
  std::vector<Shard> shards_;
  std::function<void()> on_shard_;
  std::vector<std::uint16_t> pending_;
};

/// The hash of a split: that of its file, or of several files a hash of theirs.
std::string hash_of(const std::vector<Shard>& shards);

/// Whether `name` is one that `ShardWriter` gives a file of `split`.
bool is_shard_name(const std::string& name, const std::string& split);

}  // namespace mumoe::data
