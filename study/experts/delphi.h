#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "study/experts/expert_study.h"
#include "study/experts/routing.h"

namespace mumoe::study {

/// Writes the coefficients of texts in the form that Delphi (EleutherAI) reads
/// as a cache of latents, experts being latents: of each gate a folder NAME
/// with config.json and 0_LAST.safetensors, in which
///
///   locations    int32 [n, 3]  row of `tokens`, position in it, expert
///   activations  fp32 [n]      a_n > 0, of these
///   tokens       int32 [samples, context]
///
/// ordered by row, position and expert. The level e of several is NAME.levelE.
class DelphiExport {
 public:
  /// Of `samples` of `material`. Throws `InputError` where it is no text.
  DelphiExport(std::filesystem::path folder,
               const Material& material,
               std::span<const Gate> gates,
               const std::vector<std::uint64_t>& samples);

  void add(const RoutedBatch& batch);
  /// Writes what all ranks have seen, on rank 0; `facts` is of the run. As
  /// `ExpertLoad::finish`; collective; once. Throws `InputError` for a file
  /// that cannot be written, on all ranks.
  void finish(dist::Communicator& world, bool tells, const RunFacts& facts);

 private:
  struct Cells {
    std::vector<std::int32_t> locations;  ///< [n, 3]
    std::vector<float> activations;
  };
  /// Of all ranks, in order.
  static Cells gather(dist::Communicator& world, const Cells& mine);
  void write(const Gate& gate, const Cells& cells, const RunFacts& facts) const;

  std::filesystem::path folder_;
  Material material_;
  std::vector<Gate> gates_;
  std::vector<std::uint64_t> samples_;
  std::map<std::uint64_t, std::int32_t> rows_;
  std::vector<Cells> cells_;
};

}  // namespace mumoe::study
