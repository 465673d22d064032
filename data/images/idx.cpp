#include "data/images/idx.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostBytes = std::size_t{1} << 36;

/// The bytes that `packed`, one gzip stream after the other, stands for.
std::vector<std::uint8_t> inflate_all(const fs::path& path,
                                      const std::string& packed) {
  z_stream stream{};
  MUMOE_CHECK(inflateInit2(&stream, 15 + 16) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  std::vector<std::uint8_t> bytes;
  std::size_t read = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    constexpr std::size_t kPiece = std::size_t{1} << 22;
    const std::size_t filled = bytes.size();
    bytes.resize(filled + kPiece);
    stream.next_out = bytes.data() + filled;
    stream.avail_out = kPiece;
    stream.avail_in = static_cast<uInt>(std::min(packed.size() - read, kPiece));
    const uInt given = stream.avail_in;
    status = inflate(&stream, Z_NO_FLUSH);
    read += given - stream.avail_in;
    bytes.resize(bytes.size() - stream.avail_out);
    if (status == Z_STREAM_END && read < packed.size()) {
      status = inflateReset(&stream);
    } else if (status == Z_BUF_ERROR || bytes.size() > kMostBytes ||
               (status == Z_OK && read == packed.size() &&
                stream.avail_out > 0)) {
      break;
    }
  }
  const std::string reason = stream.msg != nullptr ? stream.msg : "cut short";
  inflateEnd(&stream);
  require(status == Z_STREAM_END,
          "{}: not a whole gzip file: {} after {} bytes; expected idx, gzipped",
          path.string(),
          reason,
          read);
  return bytes;
}

std::vector<std::uint8_t> read_unpacked(const fs::path& path) {
  const std::string bytes = read_file(path);
  if (bytes.starts_with("\x1f\x8b")) return inflate_all(path, bytes);
  return {bytes.begin(), bytes.end()};
}

std::int64_t big_endian(const std::uint8_t* four) {
  return std::int64_t{four[0]} << 24 | std::int64_t{four[1]} << 16 |
         std::int64_t{four[2]} << 8 | std::int64_t{four[3]};
}

std::string listed(const std::vector<std::int64_t>& dims) {
  return fmt::format("{}", fmt::join(dims, " x "));
}

std::string first_bytes(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) return "nothing";
  return fmt::format(
      "{:02x}",
      fmt::join(bytes.first(std::min<std::size_t>(4, bytes.size())), " "));
}

constexpr std::size_t kMostDims = 8;

std::size_t head_bytes(std::size_t dims) {
  return 4 + 4 * dims;
}

/// The dims that the file's first bytes say.
std::vector<std::int64_t> dims_of(const fs::path& path,
                                  std::span<const std::uint8_t> bytes) {
  require(bytes.size() >= 4 && bytes[0] == 0 && bytes[1] == 0 &&
              bytes[2] == 0x08 && bytes[3] >= 1 && bytes[3] <= kMostDims,
          "{}: begins with {}; expected an idx file of unsigned bytes: 00 00 "
          "08, then the number of its dims",
          path.string(),
          first_bytes(bytes));
  const std::size_t header = head_bytes(bytes[3]);
  require(bytes.size() >= header,
          "{}: {} bytes; expected a header of {}",
          path.string(),
          bytes.size(),
          header);
  std::vector<std::int64_t> dims;
  std::size_t size = 1;
  for (std::size_t at = 4; at < header; at += 4) {
    dims.push_back(big_endian(&bytes[at]));
    size *= static_cast<std::size_t>(dims.back());
    require(size <= kMostBytes,
            "{}: says it holds {} bytes and more; expected at most {}",
            path.string(),
            size,
            kMostBytes);
  }
  return dims;
}

}  // namespace

std::vector<std::int64_t> read_idx_dims(const fs::path& path) {
  std::array<std::uint8_t, 4 + 4 * kMostDims> bytes{};
  gzFile file = gzopen(path.c_str(), "rb");  // reads plain files as they are
  require(file != nullptr, "{}: cannot open", path.string());
  const int count = gzread(file, bytes.data(), bytes.size());
  gzclose(file);
  return dims_of(
      path,
      std::span(bytes).first(static_cast<std::size_t>(std::max(count, 0))));
}

IdxArray read_idx(const fs::path& path) {
  IdxArray array{{}, read_unpacked(path)};
  auto& bytes = array.bytes;
  array.dims = dims_of(path, bytes);
  const std::size_t header = head_bytes(array.dims.size());
  const auto size =
      static_cast<std::size_t>(std::accumulate(array.dims.begin(),
                                               array.dims.end(),
                                               std::int64_t{1},
                                               std::multiplies<>()));
  require(bytes.size() - header == size,
          "{}: {} bytes after the header; expected {} = {}",
          path.string(),
          bytes.size() - header,
          listed(array.dims),
          size);
  bytes.erase(bytes.begin(),
              bytes.begin() + static_cast<std::ptrdiff_t>(header));
  return array;
}

void write_idx(const fs::path& path, const IdxArray& array) {
  std::string bytes{'\0', '\0', '\x08', static_cast<char>(array.dims.size())};
  for (const std::int64_t dim : array.dims) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      bytes += static_cast<char>(dim >> shift & 255);
    }
  }
  bytes.append(array.bytes.begin(), array.bytes.end());
  write_file_atomically(path, bytes);
}

}  // namespace mumoe::data
