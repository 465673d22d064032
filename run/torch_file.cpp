#include "run/torch_file.h"

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "run/unpickler.h"

namespace mumoe::run {
namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 40;

/// What storages of this class hold.
at::ScalarType dtype_of(const std::string& global, const PickleBytes& bytes) {
  const std::pair<const char*, at::ScalarType> known[] = {
      {"torch FloatStorage", at::kFloat},
      {"torch DoubleStorage", at::kDouble},
      {"torch HalfStorage", at::kHalf},
      {"torch BFloat16Storage", at::kBFloat16},
      {"torch LongStorage", at::kLong},
      {"torch IntStorage", at::kInt}};
  for (const auto& [name, dtype] : known) {
    if (global == name) return dtype;
  }
  bytes.refuse("a storage of class " + global);
}

/// Its numbers, or the strides of a tensor.
std::vector<std::int64_t> numbers_of(const PickleValue* value) {
  std::vector<std::int64_t> numbers;
  for (const PickleValue* item : value->items) numbers.push_back(item->number);
  return numbers;
}

/// Storages by key, as they follow the pickles.
std::map<std::string, at::Tensor> read_storages(
    PickleBytes& bytes,
    PickleValues& values,
    const std::map<std::string, const PickleValue*>& wanted) {
  std::map<std::string, at::Tensor> storages;
  const PickleValue* const keys = Unpickler(bytes, values).run();
  for (const PickleValue* key : keys->items) {
    const auto found = wanted.find(key->text);
    if (found == wanted.end()) bytes.refuse("a storage of no tensor");
    const auto count = bytes.number<std::int64_t>();
    if (count != found->second->number || count < 0 || count > kMostElements) {
      bytes.refuse("a storage of another size");
    }
    const auto dtype = dtype_of(found->second->items[0]->text, bytes);
    const auto held =
        bytes.take(static_cast<std::uint64_t>(count) * c10::elementSize(dtype));
    at::Tensor storage = at::empty({count}, dtype);
    std::memcpy(storage.data_ptr(), held.data(), held.size());
    storages[key->text] = storage;
  }
  return storages;
}

}  // namespace

NamedTensors read_torch_file(const std::filesystem::path& path) {
  PickleBytes bytes(path);
  PickleValues values;
  Unpickler(bytes, values).run();  // a magic number
  Unpickler(bytes, values).run();  // the protocol's version
  Unpickler(bytes, values).run();  // sizes of numbers where it was written
  const PickleValue* const dict = Unpickler(bytes, values).run();
  if (dict->kind != PickleValue::Kind::dict || dict->items.size() % 2 != 0) {
    bytes.refuse("no dict");
  }
  std::map<std::string, const PickleValue*> tensors, wanted;
  for (std::size_t i = 0; i < dict->items.size(); i += 2) {
    const PickleValue* const tensor = dict->items[i + 1];
    if (tensor->kind != PickleValue::Kind::tensor) continue;
    tensors[dict->items[i]->text] = tensor;
    wanted[tensor->items[0]->text] = tensor->items[0];
  }
  const auto storages = read_storages(bytes, values, wanted);
  NamedTensors named;
  for (const auto& [name, tensor] : tensors) {
    const auto storage = storages.find(tensor->items[0]->text);
    const auto sizes = numbers_of(tensor->items[2]);
    const auto strides = numbers_of(tensor->items[3]);
    const std::int64_t offset = tensor->items[1]->number;
    std::int64_t last = offset;
    bool whole = storage != storages.end() && offset >= 0 &&
                 sizes.size() == strides.size();
    for (std::size_t d = 0; whole && d < sizes.size(); ++d) {
      whole = sizes[d] > 0 && strides[d] >= 0 &&
              (strides[d] == 0 ||
               sizes[d] - 1 <= storage->second.numel() / strides[d]);
      last += (sizes[d] - 1) * strides[d];
    }
    if (!whole || last >= storage->second.numel()) {
      bytes.refuse(name + " is beyond its storage");
    }
    named.tensors[name] =
        storage->second.as_strided(sizes, strides, offset).clone();
  }
  return named;
}

}  // namespace mumoe::run
