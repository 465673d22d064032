#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/text/merges.h"
#include "data/text/tokenizer.h"
#include "data/text/words.h"

namespace mumoe::data {

/// GPT-2's byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019). A
/// word (see `WordSplitter`) starts as its bytes; the adjacent pair that was
/// learnt first is merged, leftmost first, until no pair is known.
///
/// Every sequence of bytes can be encoded, valid UTF-8 or not, and decodes to
/// itself. Text that looks like a special token ("<|endoftext|>") is ordinary
/// text. Time is O(n log n) in the length of a word, and words seen before come
/// from a cache of 2 MB. Threads do not take turns: each call has a cache and
/// work space to itself, of as many as there were ever calls at once.
class BpeTokenizer final : public Tokenizer {
 public:
  /// Reads `folder`/vocab.bpe (merges, in the order learnt) and
  /// `folder`/encoder.json (id of each token). Throws `InputError` naming the
  /// file and, for merges, the line.
  explicit BpeTokenizer(const std::filesystem::path& folder);
  ~BpeTokenizer() override;

  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int64_t vocabulary() const override {
    return static_cast<std::int64_t>(bytes_of_id_.size());
  }
  std::int32_t end_of_document() const override { return end_of_document_; }
  std::string_view name() const override { return "gpt2"; }

 private:
  struct HashText {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  template <class Value>
  using TextMap =
      std::unordered_map<std::string, Value, HashText, std::equal_to<>>;
  struct Workspace;

  TextMap<std::uint16_t> read_ids(const std::filesystem::path& path);
  void read_merges(const std::filesystem::path& path,
                   const TextMap<std::uint16_t>& ids);
  std::unique_ptr<Workspace> take_workspace() const;
  void encode_word(std::string_view word,
                   Workspace& workspace,
                   std::vector<std::int32_t>& ids) const;

  WordSplitter splitter_;
  std::array<std::uint16_t, 256> id_of_byte_;
  std::vector<std::string> bytes_of_id_;
  std::optional<MergeTable> merges_;
  std::int32_t end_of_document_ = 0;

  mutable std::mutex idle_mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace mumoe::data
