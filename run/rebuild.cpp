#include "run/rebuild.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "dist/gather_text.h"

namespace mumoe::run {
namespace {

/// `bytes` bytes that are the sum of `parts`; `file_at`: the files, by index.
/// Of each no more than a block is in memory, and one after the other.
template <class FileAt>
std::string sum_of(const std::filesystem::path& folder,
                   std::span<const ParityPart> parts,
                   std::int64_t bytes,
                   const FileAt& file_at) {
  std::string sum(static_cast<std::size_t>(bytes), '\0');
  std::string read;
  for (const ParityPart& part : parts) {
    read.resize(static_cast<std::size_t>(part.bytes));
    CheckedReader(folder, file_at(part.file)).read(part.begin, read, {});
    xor_into(sum, read);
  }
  return sum;
}

std::int64_t blocks_in(std::int64_t bytes) {
  return bytes / kBlockBytes + (bytes % kBlockBytes == 0 ? 0 : 1);
}

std::int64_t block_size(std::int64_t bytes, std::int64_t block) {
  return std::min(kBlockBytes, bytes - block * kBlockBytes);
}

}  // namespace

std::string parity_name(int rank) {
  return fmt::format("parity_{:05}.bin", rank);
}

CheckedFile write_parity(Disk& disk,
                         const std::filesystem::path& folder,
                         int rank,
                         std::span<const CheckedFile> files) {
  const ParityLayout layout(lengths_of(files));
  const std::size_t index = files.size() + static_cast<std::size_t>(rank);
  const std::string name = parity_name(rank);
  Disk::File file(disk, folder / name);
  BlockHasher hasher;
  const std::int64_t bytes = layout.bytes(index);
  for (std::int64_t block = 0; block < blocks_in(bytes); ++block) {
    const std::string sum =
        sum_of(folder,
               layout.others(index, block),
               block_size(bytes, block),
               [&](std::size_t i) -> const CheckedFile& { return files[i]; });
    hasher.add(sum);
    file.write(sum);
  }
  file.sync();
  return hasher.finish(name);
}

std::vector<std::string> rebuilt_lines(const RebuiltBlocks& blocks) {
  std::vector<std::string> lines;
  for (const auto& [name, damaged] : blocks) {
    const std::size_t more = damaged.size() - 1;
    lines.push_back(fmt::format(
        "damaged  {}; rebuilt from the others{}",
        damaged.begin()->second,
        more == 0 ? "" : fmt::format(", as are {} more blocks of it", more)));
  }
  return lines;
}

RebuiltBlocks gather_rebuilt(dist::Communicator& world,
                             const RebuiltBlocks& here) {
  const std::string text = here.empty() ? "" : to_text(nlohmann::json(here));
  RebuiltBlocks all;
  for (const std::string& each : dist::gather_text(world, text)) {
    if (each.empty()) continue;
    const auto blocks =
        parse_json(each, "a rank's blocks").get<RebuiltBlocks>();
    for (const auto& [name, damaged] : blocks) {
      all[name].insert(damaged.begin(), damaged.end());
    }
  }
  return all;
}

Rebuilder::Rebuilder(std::filesystem::path checkpoint, const Manifest& manifest)
    : checkpoint_(std::move(checkpoint)), manifest_(manifest) {}

std::size_t Rebuilder::files() const {
  return manifest_.files.size() + manifest_.parity.size();
}

const CheckedFile& Rebuilder::file(std::size_t index) const {
  const std::size_t ranks = manifest_.files.size();
  return index < ranks ? manifest_.files[index]
                       : manifest_.parity[index - ranks];
}

Rebuild Rebuilder::of(std::size_t index) {
  if (manifest_.parity.empty()) return nullptr;
  return [this, index](std::int64_t number, const std::string& damage) {
    return block(index, number, damage);
  };
}

void Rebuilder::require_rebuildable(
    const std::map<std::size_t, std::string>& lost) const {
  if (lost.empty()) return;
  if (manifest_.parity.empty()) throw DamageError(lost.begin()->second);
  std::vector<std::size_t> indices;
  for (const auto& [index, damage] : lost) indices.push_back(index);
  const ParityLayout layout(lengths_of(manifest_.files));
  if (const auto two = layout.clash(indices)) {
    fail<DamageError>("{}; cannot be rebuilt: {}",
                      lost.at(two->first),
                      lost.at(two->second));
  }
}

std::string Rebuilder::block(std::size_t index,
                             std::int64_t number,
                             const std::string& damage) {
  const CheckedFile& of = file(index);
  const ParityLayout layout(lengths_of(manifest_.files));
  std::string sum;
  try {
    sum = sum_of(checkpoint_,
                 layout.others(index, number),
                 block_size(of.bytes, number),
                 [&](std::size_t i) -> const CheckedFile& { return file(i); });
  } catch (const DamageError& other) {
    fail<DamageError>("{}; cannot be rebuilt: {}", damage, other.what());
  }
  if (hash_of(sum) != of.blocks[static_cast<std::size_t>(number)]) {
    fail<DamageError>("{}; cannot be rebuilt: the others give other bytes",
                      damage);
  }
  rebuilt_[of.name].emplace(number, damage);
  return sum;
}

}  // namespace mumoe::run
