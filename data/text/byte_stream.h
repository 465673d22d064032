#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

struct gzFile_s;

namespace mumoe::data {

/// The bytes of a file from front to end, unpacked where its name ends in .gz.
class ByteStream {
 public:
  /// Throws `InputError` naming the path when it cannot be opened.
  explicit ByteStream(const std::filesystem::path& path);
  ~ByteStream();
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  /// Fills `out`; returns how many bytes, fewer only at the end. Throws
  /// `InputError` naming the path: what is not packed by gzip though its name
  /// says so, damaged or cut short; what cannot be read.
  std::size_t read(std::span<char> out);

 private:
  std::size_t read_plain(std::span<char> out);
  std::size_t read_packed(std::span<char> out);

  std::filesystem::path path_;
  int fd_ = -1;
  gzFile_s* packed_ = nullptr;
};

/// Whether the name ends in .gz, in small letters or capitals.
bool is_packed(const std::filesystem::path& path);

/// Whether `name` ends in `suffix`, which has no capitals.
bool ends_in(const std::filesystem::path& name, std::string_view suffix);

}  // namespace mumoe::data
