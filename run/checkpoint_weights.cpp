#include "run/checkpoint_weights.h"

#include <ATen/ATen.h>

#include <map>
#include <utility>

#include "base/error.h"
#include "run/damage.h"
#include "run/rebuild.h"
#include "run/slice_map.h"

namespace mumoe::run {
namespace {

/// Files of a checkpoint that are open at once.
constexpr std::size_t kMostReaders = 64;

class CheckpointWeights final : public WeightFile {
 public:
  CheckpointWeights(std::filesystem::path checkpoint, Manifest manifest)
      : checkpoint_(std::move(checkpoint)),
        manifest_(std::move(manifest)),
        rebuilder_(checkpoint_, manifest_) {
    for (const auto& [name, tensor] : manifest_.tensors) {
      const auto file =
          tensor.pieces.empty() ? kManifest : file_of(tensor.pieces[0]).name;
      entries_.emplace(name, Entry{tensor.shape, checkpoint_ / file, name});
    }
  }

  at::Tensor read(const std::string& name) override {
    const auto found = manifest_.tensors.find(name);
    MUMOE_CHECK(found != manifest_.tensors.end(), "no tensor {}", name);
    try {
      return read(name, found->second);
    } catch (const DamageError& error) {
      throw DamagedCheckpoint(checkpoint_, error.what());
    }
  }

  std::vector<std::string> rebuilt() const override {
    return rebuilt_lines(rebuilder_.rebuilt());
  }

 private:
  at::Tensor read(const std::string& name, const StoredTensor& stored) {
    const at::Tensor whole = at::empty(stored.shape, stored.dtype);
    char* const memory = static_cast<char*>(whole.data_ptr());
    const auto element = static_cast<std::int64_t>(whole.element_size());
    const std::vector<std::int64_t> origin(stored.shape.size(), 0);
    const SliceMap all(stored.shape, origin, stored.shape);
    for (const StoredPiece& piece : stored.pieces) {
      const SliceMap map(stored.shape, piece.begin, piece.extent);
      for (const Copy& copy : copies_between(map,
                                             {piece.first, piece.count},
                                             all,
                                             {0, all.numel()})) {
        reader(piece).read(piece.offset + (copy.from - piece.first) * element,
                           {memory + copy.memory * element,
                            static_cast<std::size_t>(copy.count * element)},
                           name);
      }
    }
    return whole;
  }

  const CheckedFile& file_of(const StoredPiece& piece) const {
    return manifest_.files[piece.file];
  }

  CheckedReader& reader(const StoredPiece& piece) {
    // Each holds a block and a descriptor.
    if (readers_.size() >= kMostReaders && !readers_.contains(piece.file)) {
      readers_.clear();
    }
    return readers_
        .try_emplace(piece.file,
                     checkpoint_,
                     file_of(piece),
                     rebuilder_.of(piece.file))
        .first->second;
  }

  std::filesystem::path checkpoint_;
  Manifest manifest_;
  Rebuilder rebuilder_;
  std::map<std::size_t, CheckedReader> readers_;
};

}  // namespace

std::unique_ptr<WeightFile> open_checkpoint_weights(
    const std::filesystem::path& checkpoint,
    Manifest manifest) {
  return std::make_unique<CheckpointWeights>(checkpoint, std::move(manifest));
}

}  // namespace mumoe::run
