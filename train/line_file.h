#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace mumoe::train {

/// A file that grows at its end. What the disk does not take, for want of room,
/// waits in memory and is tried again with the next line: a full disk ends no
/// run. Not thread-safe.
class LineFile {
 public:
  /// Goes on behind what `path`, which must be there, holds. Throws
  /// `InputError` where it cannot be opened for writing.
  explicit LineFile(std::filesystem::path path);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  void append(std::string_view text);
  /// Puts `text`, which is no shorter, in the place of the last `size` bytes.
  void replace_end(std::size_t size, std::string_view text);
  /// Makes what the file has outlast a power cut, as far as the disk lets it.
  void sync();
  /// Why something waits, naming the file; empty: nothing does.
  const std::string& problem() const { return problem_; }

 private:
  void flush();

  std::filesystem::path path_;
  int fd_ = -1;
  std::int64_t written_ = 0;  ///< Bytes of the file.
  std::string waiting_;
  std::string problem_;
};

}  // namespace mumoe::train
