#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mumoe::data {

/// Text to token ids and back. Ids lie in [0, vocabulary()) and fit in 16 bits,
/// the width of token files. `decode(encode(text)) == text` for every text that
/// `encode` accepts. Where a text has a space or a line feed between two
/// printable characters of ASCII, the ids of the part before it and of the part
/// that begins with it, joined, are those of the text. Safe to use from many
/// threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// The ids of `text`. Never yields `end_of_document()`: whoever joins
  /// documents puts it there. Throws `InputError` naming the byte offset of
  /// what cannot be encoded.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;

  /// The bytes that `ids` stand for. A slice of a text may begin or end inside
  /// a UTF-8 character. Throws `InputError` naming position and value of an id
  /// outside the vocabulary.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;

  /// How many ids there are, `end_of_document()` among them.
  virtual std::int64_t vocabulary() const = 0;

  /// The id that follows each document in a token file.
  virtual std::int32_t end_of_document() const = 0;

  /// The name by which `make_tokenizer` knows it.
  virtual std::string_view name() const = 0;
};

/// One id a byte. Byte 0 separates documents, so a text that holds one is an
/// `InputError`.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int64_t vocabulary() const override { return 256; }
  std::int32_t end_of_document() const override { return 0; }
  std::string_view name() const override { return "bytes"; }
};

/// The tokenizer called `name`: "bytes" or "gpt2"; another name is an
/// `InputError`. `bpe_folder` holds vocab.bpe and encoder.json for "gpt2"; an
/// empty path fetches them into the cache at first use.
std::unique_ptr<Tokenizer> make_tokenizer(
    std::string_view name,
    const std::filesystem::path& bpe_folder = {});

/// Bytes of text that each id of `tokenizer` stands for: none for the end of a
/// document.
std::vector<std::int64_t> bytes_of_ids(const Tokenizer& tokenizer);

}  // namespace mumoe::data
