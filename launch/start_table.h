#pragma once

#include <string>
#include <vector>

#include "data/prepare.h"
#include "dist/host_map.h"
#include "dist/parameter_registry.h"
#include "dist/process_mesh.h"
#include "launch/compute.h"
#include "launch/options.h"

namespace mumoe::launch {

/// What the start table says of one rank.
struct RankRow {
  dist::RankPlace place;
  std::string device;
  std::string cpus;  ///< "0-3,8"
  int threads = 1;
};

/// The rows of all ranks of the run, by world rank. Collective over
/// `mesh.world()`.
std::vector<RankRow> gather_rows(const dist::ProcessMesh& mesh,
                                 const dist::HostMap& hosts,
                                 const at::Device& device);

/// The mesh, drawn: a line a rank, or a line a host where ranks are many. At
/// most 16 lines and their head; no line break at the end.
std::string draw_mesh(const std::vector<RankRow>& rows);

/// What a run is about to do: model, data, arithmetic, mesh.
std::string start_table(const Options& options,
                        const data::PreparedData& prepared,
                        const dist::ParameterRegistry& registry,
                        const std::vector<RankRow>& rows);

}  // namespace mumoe::launch
