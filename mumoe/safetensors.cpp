#include "mumoe/safetensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "dist/torch_text.h"

namespace mumoe {
namespace {

using nlohmann::json;

constexpr const char* kMetadata = "__metadata__";

struct TypeName {
  at::ScalarType type;
  const char* name;
};

constexpr TypeName kTypes[] = {
    {at::kDouble, "F64"},
    {at::kFloat, "F32"},
    {at::kBFloat16, "BF16"},
    {at::kHalf, "F16"},
    {at::kLong, "I64"},
    {at::kInt, "I32"},
    {at::kShort, "I16"},
    {at::kChar, "I8"},
    {at::kByte, "U8"},
    {at::kBool, "BOOL"},
};

/// What the header says of one tensor; bytes count from the end of the header.
struct Entry {
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;
};

/// The value called `name` of a tensor as whole numbers from 0.
std::vector<std::int64_t> counts(const json& tensor,
                                 const char* name,
                                 const std::string& where) {
  const auto found = tensor.find(name);
  require(found != tensor.end() && found->is_array(),
          "{}: expected a list called {}",
          where,
          name);
  std::vector<std::int64_t> values;
  for (const json& value : *found) {
    const auto count = as_count(value);
    require(count.has_value(),
            "{}: {} has {}; expected whole numbers, 0 or more",
            where,
            name,
            value.is_structured() ? value.type_name() : to_text(value));
    values.push_back(*count);
  }
  return values;
}

/// `shape` · `type` in bytes; none where strides or bytes overflow.
std::optional<std::int64_t> bytes_of(const Entry& entry) {
  auto bytes = static_cast<std::int64_t>(c10::elementSize(entry.type));
  bool empty = false;
  for (const auto extent : entry.shape) {
    empty = empty || extent == 0;
    const auto factor = std::max<std::int64_t>(extent, 1);
    if (__builtin_mul_overflow(bytes, factor, &bytes)) return std::nullopt;
  }
  return empty ? 0 : bytes;
}

Entry read_entry(const json& tensor, const std::string& where) {
  require(tensor.is_object(), "{}: expected an object", where);
  const auto dtype = tensor.find("dtype");
  require(dtype != tensor.end() && dtype->is_string(),
          "{}: expected text called dtype",
          where);
  Entry entry{dtype_of_name(dtype->get<std::string>(), where),
              counts(tensor, "shape", where)};
  const auto offsets = counts(tensor, "data_offsets", where);
  require(offsets.size() == 2 && offsets[0] <= offsets[1],
          "{}: expected data_offsets of two growing numbers",
          where);
  entry.begin = offsets[0];
  entry.end = offsets[1];
  require(bytes_of(entry) == entry.end - entry.begin,
          "{}: {} bytes, expected {} for its shape",
          where,
          entry.end - entry.begin,
          bytes_of(entry) ? fmt::format("{}", *bytes_of(entry))
                          : "more than there can be");
  return entry;
}

struct Header {
  std::map<std::string, std::string> metadata;
  std::map<std::string, Entry> entries;
  std::uint64_t data_begin = 0;
};

std::map<std::string, std::string> read_metadata(const json& object,
                                                 const std::string& where) {
  require(object.is_object(), "{}: expected an object", where);
  std::map<std::string, std::string> metadata;
  for (const auto& [name, value] : object.items()) {
    require(value.is_string(), "{}: {}: expected text", where, name);
    metadata[name] = value.get<std::string>();
  }
  return metadata;
}

/// The format wants tensors to share out all `size` bytes behind the header.
void require_tiling(const Header& header,
                    std::int64_t size,
                    const std::string& file) {
  std::vector<std::tuple<std::int64_t, std::int64_t, std::string>> spans;
  for (const auto& [name, entry] : header.entries) {
    require(entry.end <= size,
            "{}: tensor {}: bytes {} to {} lie outside the file, which holds "
            "{} (truncated?)",
            file,
            name,
            entry.begin,
            entry.end,
            size);
    spans.emplace_back(entry.begin, entry.end, name);
  }
  std::ranges::sort(spans);
  std::int64_t reached = 0;
  for (const auto& [begin, end, name] : spans) {
    require(begin == reached,
            "{}: tensor {}: begins at byte {}; expected {}, where the one "
            "before it ends",
            file,
            name,
            begin,
            reached);
    reached = end;
  }
  require(reached == size,
          "{}: {} bytes behind the last tensor; expected none",
          file,
          size - reached);
}

std::string header_text(std::ifstream& in,
                        std::uint64_t size,
                        const std::string& file) {
  constexpr std::uint64_t kLargest = 100'000'000;  // the format's own limit
  std::uint64_t length = 0;
  in.read(reinterpret_cast<char*>(&length), sizeof(length));
  require(in.good() && length <= size - sizeof(length),
          "{}: not a safetensors file, or truncated: {} bytes are too few for "
          "its header",
          file,
          size);
  require(
      length <= kLargest,
      "{}: not a safetensors file: a header of {} bytes; expected at most {}",
      file,
      length,
      kLargest);
  std::string text(length, '\0');
  in.read(text.data(), static_cast<std::streamsize>(length));
  require(in.good(), "{}: cannot be read", file);
  return text;
}

Header open_file(const std::filesystem::path& path, std::ifstream& in) {
  const std::string file = path.string();
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(path, error);
  require(!error, "{}: {}", file, error.message());
  in.open(path, std::ios::binary);
  require(in.good(), "{}: cannot open: {}", file, std::strerror(errno));
  const std::string text = header_text(in, size, file);
  const json all = parse_json(text, file + ": the safetensors header");
  require(all.is_object(), "{}: the safetensors header is no object", file);
  Header header;
  header.data_begin = sizeof(std::uint64_t) + text.size();
  for (const auto& [name, value] : all.items()) {
    if (name == kMetadata) {
      header.metadata =
          read_metadata(value, fmt::format("{}: {}", file, kMetadata));
    } else {
      header.entries.emplace(
          name,
          read_entry(value, fmt::format("{}: tensor {}", file, name)));
    }
  }
  require_tiling(header,
                 static_cast<std::int64_t>(size - header.data_begin),
                 file);
  return header;
}

}  // namespace

const char* dtype_name(at::ScalarType dtype) {
  for (const auto& [known, text] : kTypes) {
    if (known == dtype) return text;
  }
  fail<InternalError>("safetensors has no name for dtype {}", dtype);
}

at::ScalarType dtype_of_name(const std::string& name,
                             const std::string& where) {
  for (const auto& [type, text] : kTypes) {
    if (name == text) return type;
  }
  fail<InputError>("{}: unknown dtype {}", where, name);
}

const at::Tensor& NamedTensors::at(const std::string& name) const {
  const auto found = tensors.find(name);
  require(found != tensors.end(), "no tensor is named {}", name);
  return found->second;
}

struct SafetensorsFile::Opened {
  std::ifstream in;
  Header header;

  const Entry& entry(const std::string& name) const {
    const auto found = header.entries.find(name);
    MUMOE_CHECK(found != header.entries.end(), "no tensor {}", name);
    return found->second;
  }
};

SafetensorsFile::SafetensorsFile(std::filesystem::path path)
    : path_(std::move(path)), opened_(std::make_unique<Opened>()) {
  opened_->header = open_file(path_, opened_->in);
}

SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return opened_->header.metadata;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : opened_->header.entries) {
    names.push_back(name);
  }
  return names;
}

const std::vector<std::int64_t>& SafetensorsFile::shape(
    const std::string& name) const {
  return opened_->entry(name).shape;
}

at::ScalarType SafetensorsFile::dtype(const std::string& name) const {
  return opened_->entry(name).type;
}

std::int64_t SafetensorsFile::offset(const std::string& name) const {
  return static_cast<std::int64_t>(opened_->header.data_begin) +
         opened_->entry(name).begin;
}

std::int64_t SafetensorsFile::size() const {
  std::int64_t end = 0;
  for (const auto& [name, entry] : opened_->header.entries) {
    end = std::max(end, entry.end);
  }
  return static_cast<std::int64_t>(opened_->header.data_begin) + end;
}

at::Tensor SafetensorsFile::read(const std::string& name) {
  const Entry& entry = opened_->entry(name);
  const at::Tensor tensor = at::empty(entry.shape, entry.type);
  const auto begin = opened_->header.data_begin + entry.begin;
  opened_->in.seekg(static_cast<std::streamoff>(begin));
  opened_->in.read(static_cast<char*>(tensor.data_ptr()),
                   static_cast<std::streamsize>(tensor.nbytes()));
  require(opened_->in.good(),
          "{}: tensor {}: cannot be read",
          path_.string(),
          name);
  return tensor;
}

NamedTensors read_safetensors(const std::filesystem::path& path) {
  SafetensorsFile file(path);
  NamedTensors named{.tensors = {}, .metadata = file.metadata()};
  for (const auto& name : file.names()) named.tensors[name] = file.read(name);
  return named;
}

std::map<std::string, std::string> read_safetensors_metadata(
    const std::filesystem::path& path) {
  std::ifstream in;
  return open_file(path, in).metadata;
}

SafetensorsHead safetensors_head(
    const std::vector<TensorHeader>& tensors,
    const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  SafetensorsHead head;
  std::int64_t offset = 0;
  for (const auto& [name, dtype, shape] : tensors) {
    const auto bytes = bytes_of({dtype, shape});
    MUMOE_CHECK(bytes.has_value() && !header.contains(name), "{}", name);
    header[name] = {{"dtype", dtype_name(dtype)},
                    {"shape", shape},
                    {"data_offsets", {offset, offset + *bytes}}};
    head.offsets.push_back(offset);
    offset += *bytes;
  }
  std::string text = to_text(header);
  // The format wants the data aligned to eight bytes.
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = text.size();
  head.bytes.assign(reinterpret_cast<const char*>(&size), sizeof(size));
  head.bytes += text;
  for (auto& begin : head.offsets) begin += std::ssize(head.bytes);
  return head;
}

SafetensorsWriter::SafetensorsWriter(
    const std::filesystem::path& path,
    std::vector<TensorHeader> tensors,
    const std::map<std::string, std::string>& metadata)
    : tensors_(std::move(tensors)) {
  const SafetensorsHead head = safetensors_head(tensors_, metadata);
  file_ = std::make_unique<AtomicFile>(path);
  file_->write(head.bytes);
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(const at::Tensor& tensor) {
  MUMOE_CHECK(written_ < tensors_.size(), "more tensors than announced");
  const TensorHeader& announced = tensors_[written_++];
  MUMOE_CHECK(tensor.scalar_type() == announced.dtype &&
                  tensor.sizes() == at::IntArrayRef(announced.shape),
              "{} is not as announced",
              announced.name);
  const at::Tensor plain = tensor.detach().cpu().contiguous();
  file_->write({static_cast<const char*>(plain.data_ptr()), plain.nbytes()});
}

void SafetensorsWriter::commit() {
  MUMOE_CHECK(written_ == tensors_.size(), "fewer tensors than announced");
  file_->commit();
}

void write_safetensors(const std::filesystem::path& path,
                       const NamedTensors& named) {
  std::vector<TensorHeader> headers;
  for (const auto& [name, tensor] : named.tensors) {
    headers.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  }
  SafetensorsWriter file(path, std::move(headers), named.metadata);
  for (const auto& [name, tensor] : named.tensors) file.write(tensor);
  file.commit();
}

}  // namespace mumoe
