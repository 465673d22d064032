#include "model/safetensors.h"

#include <ATen/ATen.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::model {
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

at::ScalarType type_of(const std::string& name, const std::string& where) {
  for (const auto& [type, text] : kTypes) {
    if (name == text) return type;
  }
  fail<InputError>(where, ": unknown dtype ", name);
}

const char* name_of(at::ScalarType type) {
  for (const auto& [known, text] : kTypes) {
    if (known == type) return text;
  }
  fail<InternalError>("safetensors has no name for dtype ", type);
}

at::Tensor read_tensor(std::ifstream& in,
                       const json& entry,
                       std::uint64_t data_begin,
                       std::uint64_t file_size,
                       const std::string& where) {
  const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
  const auto begin = entry.at("data_offsets").at(0).get<std::uint64_t>();
  const auto end = entry.at("data_offsets").at(1).get<std::uint64_t>();
  const auto type = type_of(entry.at("dtype").get<std::string>(), where);
  for (const auto extent : shape) {
    require(extent >= 0, where, ": negative extent ", extent);
  }
  require(begin <= end && end <= file_size - data_begin,
          where,
          ": bytes ",
          begin,
          " to ",
          end,
          " lie outside the file, which holds ",
          file_size - data_begin,
          " (truncated?)");
  at::Tensor tensor = at::empty(shape, type);
  require(tensor.nbytes() == end - begin,
          where,
          ": ",
          end - begin,
          " bytes, expected ",
          tensor.nbytes(),
          " for its shape");
  in.seekg(static_cast<std::streamoff>(data_begin + begin));
  in.read(static_cast<char*>(tensor.data_ptr()),
          static_cast<std::streamsize>(tensor.nbytes()));
  require(in.good() || tensor.nbytes() == 0, where, ": cannot be read");
  return tensor;
}

struct Header {
  json entries;
  std::uint64_t data_begin = 0;
  std::uint64_t file_size = 0;
};

Header open_file(const std::filesystem::path& path, std::ifstream& in) {
  std::error_code error;
  Header header;
  header.file_size = std::filesystem::file_size(path, error);
  require(!error, path.string(), ": ", error.message());
  in.open(path, std::ios::binary);
  std::uint64_t length = 0;
  in.read(reinterpret_cast<char*>(&length), sizeof(length));
  require(in.good() && length <= header.file_size - sizeof(length),
          path.string(),
          ": not a safetensors file, or truncated: ",
          header.file_size,
          " bytes are too few for its header");
  std::string text(length, '\0');
  in.read(text.data(), static_cast<std::streamsize>(length));
  header.entries = json::parse(text, nullptr, /*allow_exceptions=*/false);
  require(header.entries.is_object(),
          path.string(),
          ": the safetensors header is not JSON");
  header.data_begin = sizeof(length) + length;
  return header;
}

}  // namespace

const at::Tensor& NamedTensors::at(const std::string& name) const {
  const auto found = tensors.find(name);
  require(found != tensors.end(), "no tensor is named ", name);
  return found->second;
}

NamedTensors read_safetensors(const std::filesystem::path& path) {
  std::ifstream in;
  const Header header = open_file(path, in);
  NamedTensors named;
  try {
    for (const auto& [name, entry] : header.entries.items()) {
      if (name == kMetadata) {
        named.metadata = entry.get<std::map<std::string, std::string>>();
      } else {
        named.tensors[name] =
            read_tensor(in,
                        entry,
                        header.data_begin,
                        header.file_size,
                        concat(path.string(), ": tensor ", name));
      }
    }
  } catch (const json::exception& broken) {
    fail<InputError>(path.string(),
                     ": broken safetensors header: ",
                     broken.what());
  }
  return named;
}

std::map<std::string, std::string> read_safetensors_metadata(
    const std::filesystem::path& path) {
  std::ifstream in;
  const Header header = open_file(path, in);
  try {
    return header.entries.value(kMetadata,
                                std::map<std::string, std::string>{});
  } catch (const json::exception& broken) {
    fail<InputError>(path.string(),
                     ": broken safetensors header: ",
                     broken.what());
  }
}

void write_safetensors(const std::filesystem::path& path,
                       const NamedTensors& named) {
  json header = json::object();
  if (!named.metadata.empty()) header[kMetadata] = named.metadata;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : named.tensors) {
    const std::uint64_t end = offset + tensor.nbytes();
    header[name] = {{"dtype", name_of(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  // The format wants the data aligned to eight bytes.
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t header_size = text.size();

  AtomicFile file(path);
  file.write(
      {reinterpret_cast<const char*>(&header_size), sizeof(header_size)});
  file.write(text);
  for (const auto& [name, tensor] : named.tensors) {
    const at::Tensor plain = tensor.detach().cpu().contiguous();
    file.write({static_cast<const char*>(plain.data_ptr()), plain.nbytes()});
  }
  file.commit();
}

}  // namespace mumoe::model
