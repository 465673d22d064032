#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace mumoe {

class AtomicFile;

/// Named tensors with text metadata, as in a .safetensors file.
struct NamedTensors {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> metadata;

  /// Throws `InputError` when there is no such tensor.
  const at::Tensor& at(const std::string& name) const;
};

/// Reads a whole file into CPU tensors. Throws `InputError` naming the file and
/// what is wrong with it: missing, truncated, a header that is not JSON or does
/// not describe tensors that share out the file's bytes, an unknown dtype.
NamedTensors read_safetensors(const std::filesystem::path& path);

/// The metadata alone. Throws `InputError` as `read_safetensors` does.
std::map<std::string, std::string> read_safetensors_metadata(
    const std::filesystem::path& path);

/// A file's tensors, read one at a time. Its header is read and checked when it
/// is opened: throws as `read_safetensors` does. Not thread-safe.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(std::filesystem::path path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, std::string>& metadata() const;
  std::vector<std::string> names() const;
  /// Of a tensor that is there (MUMOE_CHECK).
  const std::vector<std::int64_t>& shape(const std::string& name) const;
  at::ScalarType dtype(const std::string& name) const;
  /// Where it begins, in bytes from the beginning of the file.
  std::int64_t offset(const std::string& name) const;
  /// Of the whole file, in bytes.
  std::int64_t size() const;
  /// On the CPU, as it is stored.
  at::Tensor read(const std::string& name);

 private:
  struct Opened;
  std::filesystem::path path_;
  std::unique_ptr<Opened> opened_;
};

/// What a file will say of a tensor that is written later.
struct TensorHeader {
  std::string name;
  at::ScalarType dtype;
  std::vector<std::int64_t> shape;
};

/// What a dtype is called in a file. Throws `InternalError` where it has no
/// name there.
const char* dtype_name(at::ScalarType dtype);
/// The reverse. Throws `InputError` that begins with `where`.
at::ScalarType dtype_of_name(const std::string& name, const std::string& where);

/// How a file begins, and where the tensors behind that lie.
struct SafetensorsHead {
  std::string bytes;
  /// For each tensor, in bytes from the beginning of the file.
  std::vector<std::int64_t> offsets;
};
/// That of a file that has `tensors` one after the other. Throws
/// `InternalError` for a name given twice.
SafetensorsHead safetensors_head(
    const std::vector<TensorHeader>& tensors,
    const std::map<std::string, std::string>& metadata);

/// Writes a file tensor by tensor, which is there when `commit` returns and not
/// before, atomically and durably. Throws `InputError` naming the file.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path,
                    std::vector<TensorHeader> tensors,
                    const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();

  /// The next one, in the order that was announced: any device and strides, of
  /// the announced dtype and shape (MUMOE_CHECK).
  void write(const at::Tensor& tensor);
  /// After the last one (MUMOE_CHECK).
  void commit();

 private:
  std::vector<TensorHeader> tensors_;
  std::size_t written_ = 0;
  std::unique_ptr<AtomicFile> file_;
};

/// Writes the tensors (any device, any strides) atomically and durably. Throws
/// `InputError` naming the file.
void write_safetensors(const std::filesystem::path& path,
                       const NamedTensors& named);

}  // namespace mumoe
