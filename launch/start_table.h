#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dist/host_map.h"
#include "dist/process_mesh.h"
#include "run/command_line.h"
#include "run/data_facts.h"
#include "run/options.h"

namespace mumoe::launch {

/// What the start table says of one rank.
struct RankRow {
  dist::RankPlace place;
  std::string device;
  std::string cpus;  ///< "0-3,8"
  int threads = 1;
};

/// The rows of all ranks of the run, by world rank. Collective over
/// `mesh.control()`.
std::vector<RankRow> gather_rows(const dist::ProcessMesh& mesh,
                                 const dist::HostMap& hosts,
                                 const at::Device& device);

/// The mesh, drawn: a line a rank, or a line a host where ranks are many. At
/// most 16 lines and their head; no line break at the end.
std::string draw_mesh(const std::vector<RankRow>& rows);

/// The one rank of the null backend, `row`, at `place` of the mesh ("dp 0/64 tp
/// 0/8 world 0/512"), drawn in the same way.
std::string draw_alone(const RankRow& row, const std::string& place);

/// What is trained, for people.
struct ModelSummary {
  std::string description;
  std::int64_t parameters = 0;
  /// For one target, forward and backward.
  double flops = 0;
};

/// Where the settings of a run come from: a line, and a second one of the keys
/// that the command line gave.
std::string describe_origin(const run::CommandLine& line);

/// What a run is about to do: model, data, arithmetic and the `reasons` for it,
/// and the `drawn` mesh.
std::string start_table(const run::Options& options,
                        const run::DataFacts& data,
                        const ModelSummary& model,
                        const std::vector<std::string>& reasons,
                        const std::string& drawn);

}  // namespace mumoe::launch
