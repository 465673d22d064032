// failing_train RANK HOW WHERE N ARGUMENTS OF MUMOE...
// The program, whose rank RANK (of the world; "all": every rank) fails at the
// Nth time that it enters phase WHERE or begins collective WHERE on the dp
// axis, or "AXIS WHERE" on another (so that it fails with the collective under
// way):
//     kill  the process kills itself      stop  it stops itself, until SIGCONT
//     loop  it computes for ever                  ask   it is asked to stop
//     term  the same, by SIGTERM
//     refuse  it finds an error of its own (bad input)
//     memory  it gets no memory
// failures_test.sh starts this and checks how the job ends.

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>

#include "base/error.h"
#include "dist/communicator.h"
#include "dist/gpu_environment.h"
#include "launch/program.h"

namespace {

using namespace mumoe;

class FailAt final : public dist::Observer {
 public:
  FailAt(std::string how, std::string where, int count)
      : how_(std::move(how)), where_(std::move(where)), count_(count) {}

  void phase(std::string_view name) override {
    if (name == where_) visit();
  }
  dist::Work started(const dist::Communicator& group,
                     const dist::Collective& collective,
                     dist::Work work) override {
    const std::string op(dist::to_string(collective.op));
    const std::string axis(group.axis());
    if ((axis == "dp" && op == where_) || axis + " " + op == where_) visit();
    return work;
  }

 private:
  void visit() {
    if (--count_ != 0) return;
    if (how_ == "kill") raise(SIGKILL);
    if (how_ == "stop") raise(SIGSTOP);
    if (how_ == "ask") raise(SIGUSR1);
    if (how_ == "term") raise(SIGTERM);
    if (how_ == "refuse") fail<InputError>("{}: refused", where_);
    if (how_ == "memory") throw std::bad_alloc();
    volatile bool for_ever = how_ == "loop";
    while (for_ever) {
    }
  }

  std::string how_;
  std::string where_;
  int count_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  mumoe::dist::set_gpu_environment();
  const std::string rank = argv[1];
  const char* own = std::getenv("OMPI_COMM_WORLD_RANK");
  std::printf("pid %d\n", getpid());
  std::fflush(stdout);
  FailAt fail(argv[2], argv[3], std::atoi(argv[4]));
  std::vector<dist::Observer*> observers;
  if (rank == "all" || (own && rank == own)) observers.push_back(&fail);
  return launch::run_program(argc - 4, argv + 4, observers);
}
