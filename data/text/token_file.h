#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace mumoe::data {

/// A file of 16-bit tokens, mapped into memory and read only. Two forms, told
/// apart by the first four bytes: llm.c's (256 int32 of header: magic 20240520,
/// version 1, token count; then uint16 tokens) and nanoGPT's (uint16 tokens and
/// nothing else; GPT-2 tokens never spell the magic, whose low half is 55448).
/// Little-endian. Movable; safe to read from many threads.
class TokenFile {
 public:
  /// Throws `InputError` naming the path, what was found and what was expected:
  /// a missing, empty, truncated or odd-sized file, another version, another
  /// form of file (`check_token_form`).
  explicit TokenFile(const std::filesystem::path& path);
  ~TokenFile();
  TokenFile(TokenFile&& other) noexcept;
  TokenFile& operator=(TokenFile&& other) noexcept;

  /// Tokens in the file, at least 1.
  std::uint64_t size() const { return tokens_.size(); }
  std::uint16_t operator[](std::uint64_t i) const { return tokens_[i]; }
  /// All tokens, as long as this object holds the mapping.
  std::span<const std::uint16_t> tokens() const& { return tokens_; }
  std::span<const std::uint16_t> tokens() const&& = delete;
  const std::filesystem::path& path() const { return path_; }

  /// Tokens [first, first + out.size()) as int32 or int64. Throws
  /// `InputError` when they reach beyond the end.
  void copy(std::uint64_t first, std::span<std::int32_t> out) const;
  void copy(std::uint64_t first, std::span<std::int64_t> out) const;

  /// Throws `InputError` naming the first token that is not below
  /// `vocabulary`, and its position. Reads the whole file.
  void check_vocabulary(std::int64_t vocabulary) const;

  /// XXH64 of the whole file, 16 hexadecimal digits: says in a run's
  /// provenance what it was trained on. Not a defence against malice.
  std::string hash() const;

 private:
  void check_range(std::uint64_t first, std::uint64_t count) const;
  void read_header();
  void unmap() noexcept;

  std::filesystem::path path_;
  std::span<const std::byte> mapped_;
  std::span<const std::uint16_t> tokens_;
};

/// Writes `tokens` in llm.c's form, atomically. Throws `InputError` when the
/// header cannot hold their number (2^31 or more) or writing fails.
void write_token_file(const std::filesystem::path& path,
                      std::span<const std::uint16_t> tokens);

/// XXH64 of `bytes`, 16 hexadecimal digits.
std::string hash_hex(std::string_view bytes);
/// An XXH64 that is there already, as 16 hexadecimal digits.
std::string hash_hex(std::uint64_t hash);

}  // namespace mumoe::data
