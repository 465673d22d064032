#include "launch/commands.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <utility>

#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "dist/watch/bandwidth.h"
#include "launch/comm_case.h"
#include "launch/same_run.h"
#include "launch/session.h"
#include "run/command_line.h"
#include "run/options.h"

namespace mumoe::launch {
namespace {

using dist::Communicator;
using dist::Op;
using dist::ReduceOp;

constexpr int kMostRounds = 100000;

/// What the command line asks for.
struct Request {
  std::vector<Op> ops;
  std::vector<std::string> axes;  ///< Empty: those with several session.
  std::vector<std::int64_t> sizes;
  at::ScalarType dtype;
  std::string type;
  ReduceOp reduce;
  int rounds;
  at::Device device = at::kCPU;
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(separator, begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

/// A number of --sizes.
std::int64_t count_of_sizes(const std::string& text,
                            std::string_view digits,
                            std::int64_t most) {
  try {
    return parse_number<std::int64_t>(digits, 1, most);
  } catch (const InputError&) {
    fail<InputError>(
        "--sizes {}: expected min:max:factor, such as 1K:16M:4, at most 1024G",
        text);
  }
}

/// "16M" in bytes.
std::int64_t size_in_bytes(const std::string& text, std::string_view word) {
  int shift = 0;
  if (word.ends_with('K')) shift = 10;
  if (word.ends_with('M')) shift = 20;
  if (word.ends_with('G')) shift = 30;
  if (shift > 0) word.remove_suffix(1);
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  return count_of_sizes(text, word, kMost >> shift) << shift;
}

std::vector<std::int64_t> parse_sizes(const std::string& text) {
  const auto words = split(text, ':');
  const auto smallest = size_in_bytes(text, words[0]);
  if (words.size() == 1) return {smallest};
  require(words.size() == 3,
          "--sizes {}: expected min:max:factor, such as 1K:16M:4",
          text);
  const auto largest = size_in_bytes(text, words[1]);
  const auto factor =
      count_of_sizes(text, words[2], std::numeric_limits<std::int64_t>::max());
  require(factor > 1 && largest >= smallest,
          "--sizes {}: expected a growing row of sizes, such as 1K:16M:4",
          text);
  std::vector<std::int64_t> sizes;
  for (auto size = smallest;; size *= factor) {
    sizes.push_back(size);
    if (size > largest / factor) return sizes;
  }
}

/// The value of `word` among pairs of name and value.
template <class Pairs>
auto choose(const std::string& option,
            const std::string& word,
            const Pairs& known) {
  std::string names;
  for (const auto& [name, value] : known) {
    if (word == name) return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  fail<InputError>("{} {}: expected one of {}", option, word, names);
}

constexpr std::pair<std::string_view, Op> kOps[] = {
    {"all_reduce", Op::all_reduce},
    {"all_gather", Op::all_gather},
    {"reduce_scatter", Op::reduce_scatter},
    {"all_to_all", Op::all_to_all},
    {"broadcast", Op::broadcast}};
constexpr std::pair<std::string_view, ReduceOp> kReductions[] = {
    {"sum", ReduceOp::sum},
    {"min", ReduceOp::min},
    {"max", ReduceOp::max}};
constexpr std::pair<std::string_view, at::ScalarType> kTypes[] = {
    {"fp32", at::kFloat},
    {"bf16", at::kBFloat16},
    {"fp64", at::kDouble},
    {"int64", at::kLong}};

Request read_request(const run::CommandLine& line) {
  Request request;
  request.type = line.text("type", "fp32");
  request.dtype = choose("--type", request.type, kTypes);
  request.reduce = choose("--redop", line.text("redop", "sum"), kReductions);
  request.sizes = parse_sizes(line.text("sizes", "1K:16M:4"));
  request.rounds = line.number("rounds", 7, 1, kMostRounds);
  const auto ops = line.text("ops", "");
  for (const auto& [name, op] : kOps) {
    if (ops.empty()) request.ops.push_back(op);
  }
  if (!ops.empty()) {
    for (const auto& word : split(ops, ',')) {
      request.ops.push_back(choose("--ops", word, kOps));
    }
  }
  const auto axes = line.text("axes", "");
  if (!axes.empty()) request.axes = split(axes, ',');
  for (const auto& axis : request.axes) {
    require(axis == "dp" || axis == "tp" || axis == "all",
            "--axes {}: expected one of dp, tp, all",
            axis);
  }
  return request;
}

/// Median over the rounds of the slowest rank's time of one operation.
double measure(CommCase& comm_case, int rounds, Communicator& world) {
  const auto slowest = [&](const at::Tensor& seconds) {
    world.all_reduce(seconds, ReduceOp::max);
    return seconds;
  };
  // Short ones run many times in a row: clocks and barriers are not exact.
  const double once =
      slowest(at::full({1}, comm_case.seconds(1), at::kDouble)).item<double>();
  const int repeats = static_cast<int>(std::clamp(2e-3 / once, 1.0, 100.0));
  const at::Tensor seconds = at::zeros({rounds}, at::kDouble);
  for (int round = 0; round < rounds; ++round) {
    world.barrier();
    seconds[round] = comm_case.seconds(repeats);
  }
  return slowest(seconds).median().item<double>();
}

/// What one size of a table found.
struct Found {
  double busbw;        ///< GB/s
  std::int64_t wrong;  ///< Elements, on all session.
};

void print_heading(const Request& request, Op op, const Communicator& group) {
  fmt::print(
      "# {} over {}: {} ranks, median of {}, slowest rank\n"
      "#       size        count     type   redop    root       time    algbw "
      "   busbw   #wrong\n"
      "#        (B)   (elements)                                (us)   (GB/s) "
      "  (GB/s)\n",
      to_string(op),
      group.axis(),
      group.size(),
      request.rounds);
}

/// Measures one size; rank 0 prints its row.
Found run_size(const Request& request,
               Op op,
               std::int64_t size,
               Communicator& group,
               Communicator& world) {
  CommCase comm_case(group,
                     {op, request.dtype, size, request.reduce},
                     request.device);
  comm_case.fill();
  comm_case.run();
  const at::Tensor wrong = at::full({1}, comm_case.count_wrong(), at::kLong);
  world.all_reduce(wrong);
  const double time = measure(comm_case, request.rounds, world);
  const double algbw = static_cast<double>(comm_case.bytes()) / time / 1e9;
  const Found found{algbw * dist::bus_factor(op, group.size()),
                    wrong.item<std::int64_t>()};
  if (world.rank() != 0) return found;
  const bool reduces = op == Op::all_reduce || op == Op::reduce_scatter;
  fmt::print(
      "{:>12} {:>12} {:>8} {:>7} {:>7} {:>10.2f} {:>8.3f} {:>8.3f} "
      "{:>8}\n",
      comm_case.bytes(),
      comm_case.count(),
      request.type,
      reduces ? to_string(request.reduce) : "none",
      op == Op::broadcast ? 0 : -1,
      1e6 * time,
      algbw,
      found.busbw,
      found.wrong);
  std::fflush(stdout);
  return found;
}

/// One table. Returns the number of wrong elements on all session.
std::int64_t run_table(const Request& request,
                       Op op,
                       Communicator& group,
                       dist::ProcessMesh& mesh) {
  Communicator& world = mesh.control();
  if (world.rank() == 0) print_heading(request, op, group);
  double busbw = 0;
  std::int64_t wrong = 0;
  for (const auto size : request.sizes) {
    mesh.set_phase("bench");  // its deadline holds for one size
    const Found found = run_size(request, op, size, group, world);
    busbw += found.busbw;
    wrong += found.wrong;
  }
  if (world.rank() == 0) {
    fmt::print("# mean busbw {:.3f} GB/s\n\n",
               busbw / static_cast<double>(request.sizes.size()));
  }
  return wrong;
}

/// The axes to measure, of several ranks each.
std::vector<Communicator*> groups(const Request& request,
                                  const dist::ProcessMesh& mesh) {
  std::vector<Communicator*> found;
  for (Communicator* group : {&mesh.dp(), &mesh.tp(), &mesh.dp_tp()}) {
    // Unasked, `all` is left out where it is the same as dp or tp.
    const bool same = group == &mesh.dp_tp() &&
                      (mesh.dp().size() == 1 || mesh.tp().size() == 1);
    const bool wanted = request.axes.empty()
                            ? !same
                            : std::ranges::find(request.axes, group->axis()) !=
                                  request.axes.end();
    if (!wanted) continue;
    require(request.axes.empty() || group->size() > 1,
            "--axes {}: one rank, nothing to measure; start with launch/mpirun "
            "-n RANKS and set parallel.tp",
            group->axis());
    if (group->size() > 1) found.push_back(group);
  }
  require(
      !found.empty(),
      "bench comm: one rank, nothing to measure; start with launch/mpirun -n "
      "RANKS");
  return found;
}

}  // namespace

std::vector<run::OwnOption> bench_comm_options() {
  const auto all = [](const auto& pairs) {
    std::string names;
    for (const auto& [name, value] : pairs) {
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
    return names;
  };
  return {
      {"ops", "A[,B...]", "of " + all(kOps) + " [all]", "op collectives"},
      {"axes", "A[,B...]", "of dp, tp, all [those with several ranks]", "axis"},
      {"sizes",
       "R",
       "min:max:factor in bytes, K M G are 2^10 2^20 2^30 [1K:16M:4]",
       "size bytes b e"},
      {"type", "T", "one of: " + all(kTypes) + " [fp32]", "dtype datatype d"},
      {"redop", "R", "one of: " + all(kReductions) + " [sum]", "reduce_op o"},
      {"rounds",
       "N",
       "timed rounds, of which the median is taken [7]",
       "iters n"}};
}

ExitCode bench_comm(const std::vector<std::string>& arguments,
                    const Invocation& invocation) {
  const run::CommandLine line =
      run::read_command_line(arguments, "parallel", bench_comm_options());
  const run::ParallelOptions& parallel = line.options.parallel;
  Request request = read_request(line);
  require(parallel.backend != run::BackendChoice::null,
          "bench comm: parallel.backend = null moves nothing; expected auto, "
          "mpi or nccl");
  const auto self = dist::make_self_communicator(at::kCPU);
  const auto& mpi = invocation.mpi;
  Communicator& world = mpi ? mpi->world() : *self;
  world.set_deadline(deadline_of(parallel));
  Facts facts = run::to_map(line.options);
  facts.insert(line.own.begin(), line.own.end());
  require_same_run(world, facts);
  Session session(line.options, world, invocation);
  request.device = session.chosen.device;
  if (!session.chosen.note.empty()) session.say("# " + session.chosen.note);
  const auto measured = groups(request, session.mesh);
  std::int64_t wrong = 0;
  for (const Op op : request.ops) {
    for (Communicator* group : measured) {
      wrong += run_table(request, op, *group, session.mesh);
    }
  }
  if (wrong > 0) {
    fail<CommunicationError>("bench comm: {} wrong elements in all", wrong);
  }
  return ExitCode::done;
}

}  // namespace mumoe::launch
