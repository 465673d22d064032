#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "data/text/byte_stream.h"
#include "data/text/corpus.h"

namespace mumoe::data {

/// A run of bytes of one file of a corpus: a part of a text, or whole lines of
/// JSON. Which bytes are a block follows from the file alone.
struct Block {
  std::uint64_t number = 0;    ///< Of all blocks of the corpus.
  std::size_t file = 0;        ///< In `Corpus::documents`.
  std::uint64_t document = 0;  ///< The first that it has a part of.
  std::uint64_t offset = 0;    ///< Unpacked bytes of the file before it.
  std::uint64_t line = 1;      ///< Of JSON: the number of its first line.
  bool last = false;           ///< Of its file.
  std::string hash;            ///< Of the whole file, if this is its last.
  std::string bytes;
};

/// Reads a corpus block by block, in order, a few megabytes at a time.
///
/// A long text is cut where every tokenizer cuts it too (`Tokenizer::encode`).
/// A text without such a place is one block, whatever its length.
class BlockReader {
 public:
  /// About so many bytes are a block.
  static constexpr std::size_t kBytes = std::size_t{1} << 20;
  static constexpr std::size_t kLongestLine = std::size_t{64} << 20;

  /// Of the files [`first`, `end`) of `corpus`, which must outlive this.
  BlockReader(const Corpus& corpus, std::size_t first, std::size_t end);
  explicit BlockReader(const Corpus& corpus)
      : BlockReader(corpus, 0, corpus.documents.size()) {}
  ~BlockReader();

  /// Nothing after the last block. Throws `InputError` naming the file, and for
  /// a line longer than `kLongestLine` its number.
  std::optional<Block> next();

 private:
  struct OpenFile;
  void read_more(std::size_t wanted);
  std::size_t find_cut() const;

  const Corpus& corpus_;
  std::size_t file_, end_;
  std::uint64_t number_ = 0, document_ = 0;
  std::unique_ptr<OpenFile> open_;
};

}  // namespace mumoe::data
