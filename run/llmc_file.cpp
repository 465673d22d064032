#include "run/llmc_file.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <fstream>
#include <map>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::run {
namespace {

constexpr std::int32_t kMagic = 20240326;
constexpr std::int32_t kFloatVersion = 3;
constexpr std::int32_t kBFloat16Version = 5;
constexpr std::int64_t kRowMultiple = 128;
constexpr std::int64_t kHeaderInts = 256;

using Header = std::array<std::int32_t, kHeaderInts>;
static_assert(sizeof(Header) == 1024);

/// A tensor of one layer, in the order of the file.
struct LayerTensor {
  const char* name;
  std::int64_t rows;  ///< In widths; 0: a vector of `columns` widths.
  std::int64_t columns;
};
constexpr LayerTensor kLayer[] = {{"ln_1.weight", 0, 1},
                                  {"ln_1.bias", 0, 1},
                                  {"attn.c_attn.weight", 3, 1},
                                  {"attn.c_attn.bias", 0, 3},
                                  {"attn.c_proj.weight", 1, 1},
                                  {"attn.c_proj.bias", 0, 1},
                                  {"ln_2.weight", 0, 1},
                                  {"ln_2.bias", 0, 1},
                                  {"mlp.c_fc.weight", 4, 1},
                                  {"mlp.c_fc.bias", 0, 4},
                                  {"mlp.c_proj.weight", 1, 4},
                                  {"mlp.c_proj.bias", 0, 1}};

std::int64_t numel(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const auto extent : shape) count *= extent;
  return count;
}

LlmcShape shape_in(const Header& header, const std::string& file) {
  const LlmcShape shape{.context = header[2],
                        .vocab = header[3],
                        .depth = header[4],
                        .heads = header[5],
                        .width = header[6],
                        .padded_vocab = header[7]};
  // So far no number of bytes overflows.
  struct Size {
    const char* name;
    std::int64_t value;
    std::int64_t most;
  };
  const Size sizes[] = {{"context", shape.context, 1 << 24},
                        {"vocabulary", shape.vocab, 1 << 24},
                        {"layers", shape.depth, 1 << 12},
                        {"heads", shape.heads, 1 << 12},
                        {"width", shape.width, 1 << 20},
                        {"padded vocabulary", shape.padded_vocab, 1 << 24}};
  for (const auto& [name, value, most] : sizes) {
    require(value >= 1 && value <= most,
            "{}: {} = {} in its header; expected 1 to {}",
            file,
            name,
            value,
            most);
  }
  require(shape.vocab <= shape.padded_vocab,
          "{}: padded vocabulary = {} in its header; expected at least its "
          "vocabulary, {}",
          file,
          shape.padded_vocab,
          shape.vocab);
  return shape;
}

class LlmcWeights final : public WeightFile {
 public:
  explicit LlmcWeights(const std::filesystem::path& path)
      : path_(path), in_(path, std::ios::binary) {
    const std::string file = path.string();
    Header header{};
    in_.read(reinterpret_cast<char*>(header.data()), sizeof(header));
    require(in_.good(), "{}: truncated: no header of 1024 bytes", file);
    require(header[1] == kFloatVersion || header[1] == kBFloat16Version,
            "{}: version {} of llm.c's weights; expected 3 (fp32) or 5 (bf16)",
            file,
            header[1]);
    dtype_ = header[1] == kFloatVersion ? at::kFloat : at::kBFloat16;
    const LlmcShape shape = shape_in(header, file);
    add_entries(shape);
    metadata_ = {{"model.context", std::to_string(shape.context)},
                 {"model.vocab", std::to_string(shape.vocab)},
                 {"model.depth", std::to_string(shape.depth)},
                 {"model.heads", std::to_string(shape.heads)},
                 {"model.width", std::to_string(shape.width)}};
  }

  at::Tensor read(const std::string& name) override {
    const auto found = offsets_.find(name);
    MUMOE_CHECK(found != offsets_.end(), "no tensor {}", name);
    const at::Tensor tensor = at::empty(entries_.at(name).shape, dtype_);
    in_.seekg(found->second);
    in_.read(static_cast<char*>(tensor.data_ptr()),
             static_cast<std::streamsize>(tensor.nbytes()));
    require(in_.good(), "{}: tensor {}: cannot be read", path_.string(), name);
    return tensor;
  }

 private:
  void add_entries(const LlmcShape& shape) {
    const auto element = static_cast<std::int64_t>(c10::elementSize(dtype_));
    std::int64_t offset = sizeof(Header);
    for (auto& [name, dims] : llmc_tensors(shape)) {
      offsets_[name] = offset;
      offset += numel(dims) * element;
      if (name == "transformer.wte.weight") {
        offset += (shape.padded_vocab - shape.vocab) * shape.width * element;
      }
      entries_[name] = {dims, path_, name};
    }
    std::error_code error;
    const auto size = std::filesystem::file_size(path_, error);
    require(!error && size == static_cast<std::uintmax_t>(offset),
            "{}: {} bytes; expected {} for {} layers of width {} (truncated?)",
            path_.string(),
            error ? 0 : size,
            offset,
            shape.depth,
            shape.width);
  }

  std::filesystem::path path_;
  std::ifstream in_;
  at::ScalarType dtype_ = at::kFloat;
  std::map<std::string, std::int64_t> offsets_;
};

}  // namespace

bool is_llmc(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::int32_t magic = 0;
  in.read(reinterpret_cast<char*>(&magic), sizeof(magic));
  return in.good() && magic == kMagic;
}

std::unique_ptr<WeightFile> open_llmc(const std::filesystem::path& file) {
  return std::make_unique<LlmcWeights>(file);
}

std::vector<LlmcTensor> llmc_tensors(const LlmcShape& shape) {
  const std::int64_t width = shape.width;
  std::vector<LlmcTensor> tensors = {
      {"transformer.wte.weight", {shape.vocab, width}},
      {"transformer.wpe.weight", {shape.context, width}}};
  for (const auto& [name, rows, columns] : kLayer) {
    for (std::int64_t l = 0; l < shape.depth; ++l) {
      std::vector<std::int64_t> dims{columns * width};
      if (rows > 0) dims.insert(dims.begin(), rows * width);
      tensors.push_back({fmt::format("transformer.h.{}.{}", l, name), dims});
    }
  }
  tensors.push_back({"transformer.ln_f.weight", {width}});
  tensors.push_back({"transformer.ln_f.bias", {width}});
  return tensors;
}

LlmcWriter::LlmcWriter(const std::filesystem::path& path,
                       LlmcShape shape,
                       at::ScalarType dtype)
    : dtype_(dtype) {
  shape.padded_vocab =
      (shape.vocab + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
  padding_ = (shape.padded_vocab - shape.vocab) * shape.width;
  Header header{kMagic, dtype == at::kFloat ? kFloatVersion : kBFloat16Version};
  int place = 2;
  for (const auto size : {shape.context,
                          shape.vocab,
                          shape.depth,
                          shape.heads,
                          shape.width,
                          shape.padded_vocab}) {
    header[place++] = static_cast<std::int32_t>(size);
  }
  file_ = std::make_unique<AtomicFile>(path);
  file_->write({reinterpret_cast<const char*>(header.data()), sizeof(header)});
}

LlmcWriter::~LlmcWriter() = default;

void LlmcWriter::write(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.to(dtype_).contiguous();
  file_->write({static_cast<const char*>(plain.data_ptr()), plain.nbytes()});
  if (padding_ == 0) return;
  file_->write(std::string(padding_ * c10::elementSize(dtype_), '\0'));
  padding_ = 0;
}

void LlmcWriter::commit() {
  file_->commit();
}

}  // namespace mumoe::run
