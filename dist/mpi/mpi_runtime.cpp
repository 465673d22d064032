#include "dist/mpi/mpi_runtime.h"

#include <fmt/format.h>
#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <utility>

#include "dist/mpi/mpi_communicator.h"
#include "dist/mpi/mpi_context.h"

namespace mumoe::dist {

struct MpiRuntime::State {
  Limits limits;
  std::shared_ptr<MpiContext> context = std::make_shared<MpiContext>();
  MPI_Comm comm = MPI_COMM_NULL;  // a duplicate of MPI_COMM_WORLD
  int rank = 0;
  int size = 1;
  int local_rank = 0;
  int local_size = 1;
  std::unique_ptr<Communicator> world;
  std::shared_ptr<const LocalPeers> peers;
  int exceptions = std::uncaught_exceptions();

  void setup();  // on the MPI thread
};

void MpiRuntime::State::setup() {
  const char* what = "start of MPI";
  MUMOE_MPI_CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &comm), what);
  MUMOE_MPI_CHECK(MPI_Comm_rank(comm, &rank), what);
  MUMOE_MPI_CHECK(MPI_Comm_size(comm, &size), what);
  MPI_Comm local = MPI_COMM_NULL;
  MUMOE_MPI_CHECK(MPI_Comm_split_type(comm,
                                      MPI_COMM_TYPE_SHARED,
                                      rank,
                                      MPI_INFO_NULL,
                                      &local),
                  what);
  MUMOE_MPI_CHECK(MPI_Comm_rank(local, &local_rank), what);
  MUMOE_MPI_CHECK(MPI_Comm_size(local, &local_size), what);
  MUMOE_MPI_CHECK(MPI_Comm_free(&local), what);
  context->ops = MpiOps::create();
}

namespace {

// A thread is inside of MPI and does not come back: nothing can be unwound.
[[noreturn]] void end_process(const std::string& what,
                              std::chrono::milliseconds limit) {
  std::fprintf(stderr,
               "%s: not finished after %.1f s; another rank is stuck or gone\n",
               what.c_str(),
               static_cast<double>(limit.count()) / 1e3);
  std::fflush(nullptr);
  std::_Exit(static_cast<int>(ExitCode::communication));
}

}  // namespace

MpiRuntime::MpiRuntime(Limits limits) : state_(std::make_unique<State>()) {
  state_->limits = limits;
  State& state = *state_;
  state.context->thread =
      MpiThread::start([&state] { state.setup(); }, limits.start);
  if (!state.context->thread) end_process("start of MPI", limits.start);
  state.world = make_mpi_communicator(state.context,
                                      state.comm,
                                      state.rank,
                                      state.size,
                                      "world",
                                      kMpiMaxCount);
  // Of the start: no operation of the world's users.
  const auto start = duplicate_world("start");
  start->set_deadline(limits.start);
  state.peers = std::make_shared<const LocalPeers>(*start);
}

MpiRuntime::~MpiRuntime() {
  const auto thread = state_->context->thread;
  if (std::uncaught_exceptions() > state_->exceptions) {
    thread->abandon();
    return;
  }
  state_->world.reset();
  if (thread->finalize([ops = state_->context->ops]() mutable { ops.free(); },
                       state_->limits.finalize)) {
    return;
  }
  end_process(fmt::format("rank {} of {} (axis world), end of MPI",
                          state_->rank,
                          state_->size),
              state_->limits.finalize);
}

Communicator& MpiRuntime::world() const {
  return *state_->world;
}

std::unique_ptr<Communicator> MpiRuntime::duplicate_world(
    std::string axis,
    std::int64_t max_count) const {
  return duplicate(*state_->world, std::move(axis), max_count);
}

std::shared_ptr<const LocalPeers> MpiRuntime::peers() const {
  return state_->peers;
}

int MpiRuntime::local_rank() const {
  return state_->local_rank;
}
int MpiRuntime::local_size() const {
  return state_->local_size;
}

void MpiRuntime::abort(ExitCode code) const {
  state_->peers->tell(code);
  state_->context->thread->abort(static_cast<int>(code), state_->limits.abort);
}

}  // namespace mumoe::dist
