#include "launch/start_table.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "base/cpu.h"
#include "dist/gather_text.h"
#include "launch/pinning.h"
#include "model/families.h"

namespace mumoe::launch {
namespace {

constexpr std::size_t kMostLines = 16;

using Cells = std::vector<std::string>;

/// Columns under the head of the table, each as wide as it must be.
std::string align(const std::vector<Cells>& lines) {
  std::vector<std::size_t> widths(lines.front().size(), 0);
  for (const Cells& cells : lines) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      widths[i] = std::max(widths[i], cells[i].size());
    }
  }
  std::string text;
  for (const Cells& cells : lines) {
    std::string line = "        ";
    for (std::size_t i = 0; i < cells.size(); ++i) {
      line += fmt::format(" {:<{}} ", cells[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += "\n" + line;
  }
  return text;
}

std::vector<Cells> line_per_rank(const std::vector<RankRow>& rows) {
  std::vector<Cells> lines = {
      {"rank", "host", "device", "dp", "tp", "cores", "threads"}};
  for (std::size_t rank = 0; rank < rows.size(); ++rank) {
    const RankRow& row = rows[rank];
    lines.push_back({std::to_string(rank),
                     row.place.host,
                     row.device,
                     std::to_string(row.place.dp),
                     std::to_string(row.place.tp),
                     row.cpus,
                     std::to_string(row.threads)});
  }
  return lines;
}

/// The different values of a column, in the order in which they appear.
std::string join_different(const std::vector<std::string>& values) {
  std::vector<std::string> seen;
  for (const auto& value : values) {
    if (std::find(seen.begin(), seen.end(), value) == seen.end()) {
      seen.push_back(value);
    }
  }
  return fmt::format("{}", fmt::join(seen, " "));
}

/// "cuda:0-7" for "cuda:0", "cuda:1", ...
std::string join_devices(const std::vector<std::string>& devices) {
  std::vector<int> ids;
  for (const auto& device : devices) {
    const auto colon = device.find(':');
    if (colon == std::string::npos) return join_different(devices);
    ids.push_back(std::atoi(device.c_str() + colon + 1));
  }
  return devices.front().substr(0, devices.front().find(':') + 1) +
         to_text(ids);
}

Cells summarise(const std::string& host,
                const std::vector<int>& ranks,
                const std::vector<RankRow>& rows) {
  std::vector<int> dp, tp;
  std::vector<std::string> devices, cpus, threads;
  const auto add_new = [](std::vector<int>& ids, int id) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  };
  for (const int rank : ranks) {
    const RankRow& row = rows[rank];
    add_new(dp, row.place.dp);
    add_new(tp, row.place.tp);
    devices.push_back(row.device);
    cpus.push_back(row.cpus);
    threads.push_back(std::to_string(row.threads));
  }
  return {host,
          to_text(ranks),
          join_devices(devices),
          to_text(dp),
          to_text(tp),
          join_different(cpus),
          join_different(threads)};
}

std::vector<Cells> line_per_host(const std::vector<RankRow>& rows,
                                 const dist::HostMap& map) {
  std::vector<Cells> lines = {
      {"host", "ranks", "device", "dp", "tp", "cores", "threads"}};
  const auto hosts = map.hosts();
  const std::size_t shown =
      hosts.size() > kMostLines ? kMostLines - 1 : hosts.size();
  for (std::size_t i = 0; i < shown; ++i) {
    lines.push_back(summarise(hosts[i], map.ranks_on(hosts[i]), rows));
  }
  if (shown < hosts.size()) {
    lines.push_back({fmt::format("and {} more hosts", hosts.size() - shown)});
  }
  return lines;
}

/// Lines that belong to the one above.
std::string below(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += "         " + line + "\n";
  return text;
}

/// "a token", "an image".
std::string one(const std::string& noun) {
  return (std::string_view("aeiou").find(noun.front()) == std::string_view::npos
              ? "a "
              : "an ") +
         noun;
}

/// What a rank that was not given as a number rests on.
std::string describe_matching(const run::Options& options) {
  std::string text;
  for (const auto& kind : model::family(options.family).mlps(options.model)) {
    const std::string rule = run::rank_text(options, kind);
    if (kind.dense || !run::is_rank_rule(rule)) continue;
    text += fmt::format("         {}rank {}: {}, {} parameters a block, {}\n",
                        kind.name,
                        rule,
                        fmt::join(kind.block.ranks, ", "),
                        MuMoEBlock::parameter_count(kind.block),
                        kind.parameters > 0
                            ? fmt::format("{} asked for", kind.parameters)
                            : fmt::format("{} in a {}",
                                          model::dense_parameters(kind),
                                          kind.instead_of));
  }
  return text;
}

}  // namespace

std::vector<RankRow> gather_rows(const dist::ProcessMesh& mesh,
                                 const dist::HostMap& hosts,
                                 const at::Device& device) {
  const std::string mine = fmt::format("{} {} {}",
                                       device.str(),
                                       at::get_num_threads(),
                                       cpus_of_this_thread());
  const auto texts = dist::gather_text(mesh.control(), mine);
  std::vector<RankRow> rows(texts.size());
  for (std::size_t rank = 0; rank < texts.size(); ++rank) {
    RankRow& row = rows[rank];
    row.place = hosts.places()[rank];
    std::istringstream(texts[rank]) >> row.device >> row.threads >> row.cpus;
  }
  return rows;
}

std::string draw_mesh(const std::vector<RankRow>& rows) {
  std::vector<dist::RankPlace> places;
  int dp = 0, tp = 0;
  for (const RankRow& row : rows) {
    places.push_back(row.place);
    dp = std::max(dp, row.place.dp + 1);
    tp = std::max(tp, row.place.tp + 1);
  }
  const dist::HostMap map(std::move(places));
  const auto hosts = map.hosts().size();
  return fmt::format("mesh     {} rank{} = dp {} x tp {}, on {} host{}",
                     rows.size(),
                     rows.size() == 1 ? "" : "s",
                     dp,
                     tp,
                     hosts,
                     hosts == 1 ? "" : "s") +
         align(rows.size() <= kMostLines ? line_per_rank(rows)
                                         : line_per_host(rows, map));
}

std::string draw_alone(const RankRow& row, const std::string& place) {
  return "mesh     " + place + " alone" + align(line_per_rank({row}));
}

std::string describe_origin(const run::CommandLine& line) {
  std::string from = one_line(line.config.string());
  if (line.own_config) from += ", the run's own";
  if (line.default_recipe) {
    from = "the default recipe, a small GPT-2: no --config was given";
  }
  std::vector<std::string> given;
  for (const auto& [key, origin] : line.origins) {
    if (origin == "command line") given.push_back(key);
  }
  return fmt::format("config   {}{}",
                     from,
                     given.empty() ? ""
                                   : fmt::format("\n         command line: {}",
                                                 fmt::join(given, ", ")));
}

std::string start_table(const run::Options& options,
                        const run::DataFacts& data,
                        const ModelSummary& model,
                        const std::vector<std::string>& reasons,
                        const std::string& drawn) {
  const auto values = run::to_map(options);
  return fmt::format(
      "model    {}\n"
      "         {} parameters, {:.1f} MFLOP {}, forward and backward\n{}"
      "data     {}\n{}"
      "compute  {} on {}, {}, fp32 by {}\n"
      "{}{}",
      model.description,
      model.parameters,
      model.flops / 1e6,
      one(data.target),
      describe_matching(options),
      data.description,
      below(data.notes),
      values.at("train.precision"),
      values.at("train.device"),
      to_string(best_isa()),
      values.at("train.gemm"),
      below(reasons),
      drawn);
}

}  // namespace mumoe::launch
