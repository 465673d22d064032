#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/direct_io.h"
#include "base/error.h"

namespace mumoe::run {

/// Bytes of a file that share a checksum.
inline constexpr std::int64_t kBlockBytes = std::int64_t{4} << 20;

/// What was written is not what is there: a file of a checkpoint is missing, of
/// another size, or holds other bytes.
struct DamageError : InputError {
  using InputError::InputError;
};

/// XXH3 of 128 bits, as 32 hexadecimal digits.
std::string hash_of(std::string_view bytes);

/// A file of a checkpoint as it was written.
struct CheckedFile {
  std::string name;  ///< In the folder of the checkpoint.
  std::int64_t bytes = 0;
  /// `hash_of` each block; none of a file that was written without.
  std::vector<std::string> blocks = {};

  bool operator==(const CheckedFile&) const = default;
};

/// The checksums of a file in the making.
class BlockHasher {
 public:
  void add(std::string_view bytes);
  /// Of all bytes added.
  CheckedFile finish(std::string name);

 private:
  void end_block();

  std::string block_;  ///< Its bytes, where they came in pieces.
  CheckedFile file_;
};

/// Where a block of a file is not as it was written, and `damage` says why: its
/// bytes, from elsewhere. Throws `DamageError`.
using Rebuild =
    std::function<std::string(std::int64_t block, const std::string& damage)>;

/// Reads parts of a file, and checks each block that holds a part of them:
/// once, as long as parts are asked for in the order in which they lie. Not
/// thread-safe.
class CheckedReader {
 public:
  /// Throws `DamageError` naming the file: it is missing or of another size.
  /// With `rebuild` that, and any other damage, is what it is asked about.
  CheckedReader(const std::filesystem::path& folder,
                const CheckedFile& file,
                Rebuild rebuild = nullptr);
  ~CheckedReader();
  CheckedReader(const CheckedReader&) = delete;
  CheckedReader& operator=(const CheckedReader&) = delete;

  /// Fills `out` from byte `begin` on, which must lie in the file
  /// (MUMOE_CHECK). Throws `DamageError` naming the file, `what` is read, and
  /// the block that is not as it was written.
  void read(std::int64_t begin, std::span<char> out, std::string_view what);
  /// Checks all blocks: as they are on the disk, where the file system can say.
  void check();
  std::int64_t blocks_read() const { return blocks_read_; }

 private:
  /// Why it cannot be read at all; empty: it is open.
  std::string open();
  void load(std::int64_t block, std::string_view what);
  void read_block(std::int64_t block, std::string_view what, char* to);
  std::size_t size_of(std::int64_t block) const;

  std::filesystem::path path_;
  const CheckedFile& file_;
  const Rebuild rebuild_;
  std::string lost_;  ///< What `open` returned.
  int fd_ = -1;
  std::int64_t loaded_ = -1;
  std::int64_t blocks_read_ = 0;
  std::optional<DirectBuffer> block_;
};

}  // namespace mumoe::run
