#include "run/consolidate.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/number.h"
#include "mumoe/safetensors.h"
#include "run/checkpoint_weights.h"
#include "run/damage.h"
#include "run/manifest.h"
#include "run/named_checkpoint.h"
#include "run/single_file.h"
#include "run/stored_order.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

void write_tensors(const fs::path& file,
                   const std::map<std::string, std::string>& metadata,
                   const std::vector<TensorHeader>& headers,
                   WeightFile& tensors) {
  SafetensorsWriter writer(file, headers, metadata);
  for (const TensorHeader& header : headers) {
    writer.write(tensors.read(header.name));
  }
  writer.commit();
}

std::vector<std::string> consolidate_past(const fs::path& from,
                                          const fs::path& to,
                                          const Damage& known) {
  NamedCheckpoint checkpoint = named_checkpoint(from, known);
  Manifest manifest = read_manifest(checkpoint.folder);
  std::vector<TensorHeader> headers;
  std::int64_t bytes = 0;
  for (const auto& name : stored_order(manifest)) {
    const StoredTensor& tensor = manifest.tensors.at(name);
    headers.push_back({name, tensor.dtype, tensor.shape});
    bytes += tensor.bytes();
  }
  const RunState state = manifest.state;
  const std::size_t files = manifest.files.size();
  const auto tensors =
      open_checkpoint_weights(checkpoint.folder, std::move(manifest));
  write_single_file_as(to, state.step, [&](const fs::path& file) {
    write_tensors(file, single_file_metadata(state), headers, *tensors);
  });
  std::vector<std::string> lines = {fmt::format("from  {}: step {}, {} file{}",
                                                checkpoint.folder.string(),
                                                state.step,
                                                files,
                                                files == 1 ? "" : "s")};
  lines.insert(lines.end(),
               std::make_move_iterator(checkpoint.notes.begin()),
               std::make_move_iterator(checkpoint.notes.end()));
  const auto rebuilt = tensors->rebuilt();
  lines.insert(lines.end(), rebuilt.begin(), rebuilt.end());
  lines.push_back(fmt::format("to    {}: {} tensors, {}",
                              to.string(),
                              headers.size(),
                              size_text(static_cast<double>(bytes))));
  return lines;
}

}  // namespace

std::vector<std::string> consolidate(const fs::path& from, const fs::path& to) {
  return past_damage(
      [&](const Damage& known) { return consolidate_past(from, to, known); });
}

}  // namespace mumoe::run
