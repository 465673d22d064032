#include "dist/mpi_communicator.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/mpi_thread.h"
#include "dist/reduction.h"

namespace mumoe::dist {
namespace {

using Requests = std::vector<MPI_Request>;

// From this size on an all_reduce is bound by bandwidth, not latency.
constexpr std::size_t kLargeAllReduce = 64 << 10;

template <at::ScalarType kType, ReduceOp kOp>
void user_reduction(void* in, void* inout, int* count, MPI_Datatype*) {
  reduce_pair(kType, kOp, in, inout, *count);
}

template <at::ScalarType kType, ReduceOp kOp>
MPI_Op create_op() {
  MPI_Op op = MPI_OP_NULL;
  MUMOE_MPI_CHECK(MPI_Op_create(&user_reduction<kType, kOp>, 1, &op),
                  "start of MPI");
  return op;
}

MPI_Datatype mpi_type(at::ScalarType type) {
  switch (type) {
    case at::kBFloat16:
      return MPI_UINT16_T;
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    default:
      fail<InternalError>("dtype ", type, " has no MPI type");
  }
}

MPI_Op mpi_op(const MpiOps& ops, at::ScalarType type, ReduceOp op) {
  const bool sum = op == ReduceOp::sum || op == ReduceOp::avg;
  const bool min = op == ReduceOp::min;
  switch (type) {
    case at::kBFloat16:
      return sum ? ops.bf16_sum : min ? ops.bf16_min : ops.bf16_max;
    case at::kFloat:
      return sum ? MPI_SUM : min ? ops.float_min : ops.float_max;
    case at::kDouble:
      return sum ? MPI_SUM : min ? ops.double_min : ops.double_max;
    default:
      return sum ? MPI_SUM : min ? MPI_MIN : MPI_MAX;
  }
}

// A communicator's handle, freed on the MPI thread after the last operation
// that holds it.
struct Group {
  std::shared_ptr<const MpiContext> context;
  MPI_Comm comm = MPI_COMM_NULL;

  Group(std::shared_ptr<const MpiContext> the_context, MPI_Comm the_comm)
      : context(std::move(the_context)), comm(the_comm) {}
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ~Group() {
    context->thread->post(
        [handle = comm]() mutable { MPI_Comm_free(&handle); });
  }
};

// `width` columns of a matrix [ranks, columns] in row-major order, as what one
// call of MPI moves: `count` times `type` is one row of them, and the next row
// begins where the matrix has it.
class Columns {
 public:
  Columns(at::ScalarType type,
          std::int64_t width,
          std::int64_t columns,
          const std::string& what)
      : count_(static_cast<int>(width)), type_(mpi_type(type)) {
    if (width == columns) return;
    MPI_Datatype row = MPI_DATATYPE_NULL;
    MUMOE_MPI_CHECK(MPI_Type_contiguous(count_, type_, &row), what);
    const auto size = static_cast<MPI_Aint>(c10::elementSize(type));
    const int code = MPI_Type_create_resized(row, 0, columns * size, &strided_);
    MPI_Type_free(&row);
    check_mpi(code, "MPI_Type_create_resized", what);
    MUMOE_MPI_CHECK(MPI_Type_commit(&strided_), what);
    count_ = 1;
    type_ = strided_;
  }
  // MPI keeps a type until the operations that use it have ended.
  ~Columns() {
    if (strided_ != MPI_DATATYPE_NULL) MPI_Type_free(&strided_);
  }
  Columns(const Columns&) = delete;
  Columns& operator=(const Columns&) = delete;

  int count() const { return count_; }
  MPI_Datatype type() const { return type_; }

 private:
  int count_;
  MPI_Datatype type_;
  MPI_Datatype strided_ = MPI_DATATYPE_NULL;
};

// Memory for `bytes`, back in the pool when the last copy of the pointer goes.
std::shared_ptr<std::byte[]> stage(const MpiContext& context,
                                   std::size_t bytes) {
  auto buffer = context.staging->take(bytes);
  std::byte* data = buffer.data.get();
  auto holder = std::shared_ptr<StagingPool::Buffer>(
      new StagingPool::Buffer(std::move(buffer)),
      [pool = context.staging](StagingPool::Buffer* used) {
        pool->give_back(std::move(*used));
        delete used;
      });
  return {std::move(holder), data};
}

struct Chunk {
  std::int64_t begin;
  std::int64_t count;
};

std::vector<Chunk> chunks(std::int64_t count, std::int64_t most) {
  std::vector<Chunk> result;
  for (std::int64_t begin = 0; begin < count; begin += most) {
    result.push_back({begin, std::min(most, count - begin)});
  }
  return result;
}

std::byte* at_element(const at::Tensor& tensor, std::int64_t index) {
  return static_cast<std::byte*>(tensor.data_ptr()) +
         index * static_cast<std::int64_t>(tensor.element_size());
}

// The two halves of an all_reduce: rank r reduces interval r of every chunk.
class Halves {
 public:
  Halves(std::shared_ptr<Group> group,
         at::Tensor tensor,
         ReduceOp op,
         int rank,
         int ranks,
         std::int64_t most)
      : group_(std::move(group)),
        tensor_(std::move(tensor)),
        op_(op),
        rank_(rank),
        ranks_(ranks),
        type_(mpi_type(tensor_.scalar_type())) {
    std::size_t own = 0;
    for (const Chunk& chunk : chunks(tensor_.numel(), most)) {
      Part part{.begin = chunk.begin,
                .counts = {},
                .displacements = {},
                .own_counts = {},
                .rows = {},
                .staged = own};
      for (int r = 0; r < ranks; ++r) {
        const auto first = static_cast<int>(chunk.count * r / ranks);
        const auto last = static_cast<int>(chunk.count * (r + 1) / ranks);
        part.displacements.push_back(first);
        part.counts.push_back(last - first);
      }
      part.own_counts.assign(ranks, part.counts[rank]);
      for (int r = 0; r < ranks; ++r) {
        part.rows.push_back(r * part.counts[rank]);
      }
      own += ranks * part.counts[rank] * tensor_.element_size();
      parts_.push_back(std::move(part));
    }
    staging_ = stage(*group_->context, own);
  }

  // Row r of a part's staging memory becomes rank r's interval `rank`.
  void scatter(Requests& requests, const std::string& what) {
    for (const Part& part : parts_) {
      MPI_Request request;
      MUMOE_MPI_CHECK(MPI_Ialltoallv(at_element(tensor_, part.begin),
                                     part.counts.data(),
                                     part.displacements.data(),
                                     type_,
                                     staging_.get() + part.staged,
                                     part.own_counts.data(),
                                     part.rows.data(),
                                     type_,
                                     group_->comm,
                                     &request),
                      what);
      requests.push_back(request);
    }
  }

  void reduce() {
    for (const Part& part : parts_) {
      std::vector<const void*> rows;
      for (int r = 0; r < ranks_; ++r) {
        rows.push_back(staging_.get() + part.staged +
                       part.rows[r] * tensor_.element_size());
      }
      reduce_parts(tensor_.scalar_type(),
                   op_,
                   rows,
                   at_element(tensor_, part.begin + part.displacements[rank_]),
                   part.counts[rank_]);
    }
  }

  void gather(Requests& requests, const std::string& what) {
    for (const Part& part : parts_) {
      MPI_Request request;
      MUMOE_MPI_CHECK(MPI_Iallgatherv(MPI_IN_PLACE,
                                      0,
                                      type_,
                                      at_element(tensor_, part.begin),
                                      part.counts.data(),
                                      part.displacements.data(),
                                      type_,
                                      group_->comm,
                                      &request),
                      what);
      requests.push_back(request);
    }
  }

 private:
  // One call of MPI; the arrays must live until it has ended.
  struct Part {
    std::int64_t begin;              // in the tensor
    std::vector<int> counts;         // elements of each rank's interval
    std::vector<int> displacements;  // and where it begins in the chunk
    std::vector<int> own_counts;     // those of this rank's, for each row
    std::vector<int> rows;           // where each row begins
    std::size_t staged;              // bytes before row 0
  };

  std::shared_ptr<Group> group_;
  at::Tensor tensor_;
  ReduceOp op_;
  int rank_;
  int ranks_;
  MPI_Datatype type_;
  std::vector<Part> parts_;
  std::shared_ptr<std::byte[]> staging_;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(std::shared_ptr<Group> group,
                  int rank,
                  int size,
                  std::string axis,
                  std::int64_t max_count)
      : Communicator(rank, size, std::move(axis)),
        group_(std::move(group)),
        max_count_(max_count) {}

  std::unique_ptr<Communicator> duplicate(std::string axis,
                                          std::int64_t max_count) {
    auto comm = std::make_shared<MPI_Comm>(MPI_COMM_NULL);
    run(describe_group("duplicate", axis),
        {[group = group_](Requests& requests, const std::string& text) {
           requests.emplace_back();
           MUMOE_MPI_CHECK(MPI_Ibarrier(group->comm, &requests.back()), text);
         },
         [group = group_, comm](Requests&, const std::string& text) {
           MUMOE_MPI_CHECK(MPI_Comm_dup(group->comm, comm.get()), text);
         }});
    auto result = make_mpi_communicator(group_->context,
                                        *comm,
                                        rank(),
                                        size(),
                                        std::move(axis),
                                        max_count);
    result->set_deadline(deadline());
    result->set_phase(phase());
    return result;
  }

 private:
  at::Device device() const override { return at::kCPU; }

  Work do_all_reduce(const at::Tensor& tensor, ReduceOp op) override {
    return tensor.nbytes() < kLargeAllReduce ? all_reduce_by_mpi(tensor, op)
                                             : all_reduce_in_halves(tensor, op);
  }

  Work all_reduce_by_mpi(const at::Tensor& tensor, ReduceOp op) {
    auto reduce = [group = group_, tensor, op, most = max_count_](
                      Requests& requests,
                      const std::string& what) {
      const auto type = tensor.scalar_type();
      const MPI_Op reduction = mpi_op(group->context->ops, type, op);
      for (const Chunk& chunk : chunks(tensor.numel(), most)) {
        MPI_Request request;
        MUMOE_MPI_CHECK(MPI_Iallreduce(MPI_IN_PLACE,
                                       at_element(tensor, chunk.begin),
                                       static_cast<int>(chunk.count),
                                       mpi_type(type),
                                       reduction,
                                       group->comm,
                                       &request),
                        what);
        requests.push_back(request);
      }
    };
    if (op != ReduceOp::avg) return start(Op::all_reduce, {std::move(reduce)});
    auto scale = [tensor, ranks = size()](Requests&, const std::string&) {
      divide(tensor.scalar_type(), tensor.data_ptr(), tensor.numel(), ranks);
    };
    return start(Op::all_reduce, {std::move(reduce), std::move(scale)});
  }

  // Reduce-scatter, then all-gather, of intervals of elements.
  Work all_reduce_in_halves(const at::Tensor& tensor, ReduceOp op) {
    auto halves = std::make_shared<Halves>(group_,
                                           tensor,
                                           op,
                                           rank(),
                                           size(),
                                           max_count_);
    return start(Op::all_reduce,
                 {[halves](Requests& requests, const std::string& what) {
                    halves->scatter(requests, what);
                  },
                  [halves](Requests& requests, const std::string& what) {
                    halves->reduce();
                    halves->gather(requests, what);
                  }},
                 2 * tensor.nbytes());
  }

  Work do_all_gather(const at::Tensor& shard,
                     const at::Tensor& whole) override {
    auto begin =
        [group = group_, shard, whole, rank = rank(), most = columns_at_once()](
            Requests& requests,
            const std::string& what) {
          const std::int64_t columns = shard.numel();
          const bool in_place =
              shard.data_ptr() == at_element(whole, rank * columns);
          for (const Chunk& chunk : chunks(columns, most)) {
            const Columns part(shard.scalar_type(), chunk.count, columns, what);
            const void* from =
                in_place ? MPI_IN_PLACE : at_element(shard, chunk.begin);
            MPI_Request request;
            MUMOE_MPI_CHECK(MPI_Iallgather(from,
                                           part.count(),
                                           part.type(),
                                           at_element(whole, chunk.begin),
                                           part.count(),
                                           part.type(),
                                           group->comm,
                                           &request),
                            what);
            requests.push_back(request);
          }
        };
    return start(Op::all_gather, {std::move(begin)}, whole.nbytes());
  }

  Work do_reduce_scatter(const at::Tensor& whole,
                         const at::Tensor& shard,
                         ReduceOp op) override {
    // Row r of `parts` will be what rank r has for this rank.
    const auto parts = stage(*group_->context, whole.nbytes());
    auto begin = [group = group_,
                  whole,
                  parts,
                  ranks = size(),
                  most = columns_at_once()](Requests& requests,
                                            const std::string& what) {
      exchange(*group, whole, parts.get(), ranks, most, requests, what);
    };
    auto finish = [parts, shard, op, ranks = size()](Requests&,
                                                     const std::string&) {
      std::vector<const void*> rows;
      for (int r = 0; r < ranks; ++r) {
        rows.push_back(parts.get() + r * shard.nbytes());
      }
      reduce_parts(shard.scalar_type(),
                   op,
                   rows,
                   shard.data_ptr(),
                   shard.numel());
    };
    return start(Op::reduce_scatter,
                 {std::move(begin), std::move(finish)},
                 whole.nbytes());
  }

  Work do_all_to_all(const at::Tensor& in, const at::Tensor& out) override {
    auto begin =
        [group = group_, in, out, ranks = size(), most = columns_at_once()](
            Requests& requests,
            const std::string& what) {
          exchange(*group, in, at_element(out, 0), ranks, most, requests, what);
        };
    return start(Op::all_to_all, {std::move(begin)}, in.nbytes());
  }

  Work do_broadcast(const at::Tensor& tensor, int root) override {
    auto begin = [group = group_, tensor, root, most = max_count_](
                     Requests& requests,
                     const std::string& what) {
      for (const Chunk& chunk : chunks(tensor.numel(), most)) {
        MPI_Request request;
        MUMOE_MPI_CHECK(MPI_Ibcast(at_element(tensor, chunk.begin),
                                   static_cast<int>(chunk.count),
                                   mpi_type(tensor.scalar_type()),
                                   root,
                                   group->comm,
                                   &request),
                        what);
        requests.push_back(request);
      }
    };
    return start(Op::broadcast, {std::move(begin)}, tensor.nbytes());
  }

  Work do_barrier() override {
    auto begin = [group = group_](Requests& requests, const std::string& what) {
      MPI_Request request;
      MUMOE_MPI_CHECK(MPI_Ibarrier(group->comm, &request), what);
      requests.push_back(request);
    };
    return start(Op::barrier, {std::move(begin)});
  }

  std::unique_ptr<Communicator> do_split(int color,
                                         int key,
                                         std::string axis) override {
    // MPI takes no negative colors, and blocks in MPI_Comm_split: every rank
    // learns all choices first, so that all have arrived when it is called.
    struct Choices {
      std::array<int, 2> own;
      std::vector<int> all;  // [size, 2]: color, key
      MPI_Comm comm = MPI_COMM_NULL;
    };
    auto choices = std::make_shared<Choices>();
    choices->own = {color, key};
    choices->all.resize(2 * size());
    run(describe_group("split", axis),
        {[group = group_, choices](Requests& requests,
                                   const std::string& text) {
           MPI_Request request;
           MUMOE_MPI_CHECK(MPI_Iallgather(choices->own.data(),
                                          2,
                                          MPI_INT,
                                          choices->all.data(),
                                          2,
                                          MPI_INT,
                                          group->comm,
                                          &request),
                           text);
           requests.push_back(request);
         },
         [group = group_, choices, ranks = size()](Requests&,
                                                   const std::string& text) {
           int first = 0;  // the lowest rank of this color stands for it
           while (choices->all[2 * first] != choices->own[0]) ++first;
           MUMOE_CHECK(first < ranks);
           MUMOE_MPI_CHECK(MPI_Comm_split(group->comm,
                                          first,
                                          choices->own[1],
                                          &choices->comm),
                           text);
         }});
    std::vector<std::pair<int, int>> members;  // (key, rank here)
    for (int r = 0; r < size(); ++r) {
      if (choices->all[2 * r] == color) {
        members.emplace_back(choices->all[2 * r + 1], r);
      }
    }
    std::sort(members.begin(), members.end());
    const auto self =
        std::find(members.begin(), members.end(), std::pair{key, rank()});
    return make_mpi_communicator(group_->context,
                                 choices->comm,
                                 static_cast<int>(self - members.begin()),
                                 static_cast<int>(members.size()),
                                 std::move(axis),
                                 max_count_);
  }

  // Row r of `out` becomes row `rank` of rank r's `in`, both [ranks, columns].
  static void exchange(const Group& group,
                       const at::Tensor& in,
                       std::byte* out,
                       int ranks,
                       std::int64_t most,
                       Requests& requests,
                       const std::string& what) {
    const std::int64_t columns = in.numel() / ranks;
    const auto size = static_cast<std::int64_t>(in.element_size());
    for (const Chunk& chunk : chunks(columns, most)) {
      const Columns part(in.scalar_type(), chunk.count, columns, what);
      MPI_Request request;
      MUMOE_MPI_CHECK(MPI_Ialltoall(at_element(in, chunk.begin),
                                    part.count(),
                                    part.type(),
                                    out + chunk.begin * size,
                                    part.count(),
                                    part.type(),
                                    group.comm,
                                    &request),
                      what);
      requests.push_back(request);
    }
  }

  // Elements of one rank's part that one call may move, for all parts together
  // to stay below the limit.
  std::int64_t columns_at_once() const {
    return std::max<std::int64_t>(1, max_count_ / size());
  }

  Work start(Op op, std::vector<MpiTask::Step> steps, std::size_t bytes = 0) {
    auto task = std::make_shared<MpiTask>(describe(op),
                                          deadline(),
                                          std::move(steps),
                                          bytes);
    group_->context->thread->post(task);
    return Work(std::move(task));
  }

  void run(std::string what, std::vector<MpiTask::Step> steps) {
    auto task = std::make_shared<MpiTask>(std::move(what),
                                          deadline(),
                                          std::move(steps));
    group_->context->thread->post(task);
    task->wait();
  }

  std::string describe_group(std::string_view action,
                             const std::string& axis) const {
    return concat("rank ",
                  rank(),
                  " of ",
                  size(),
                  " (axis ",
                  this->axis(),
                  "), ",
                  action,
                  " into ",
                  axis,
                  ", phase ",
                  phase());
  }

  std::shared_ptr<Group> group_;
  std::int64_t max_count_;
};

}  // namespace

StagingPool::Buffer StagingPool::take(std::size_t bytes) {
  {
    std::lock_guard lock(mutex_);
    // The smallest that is large enough; else the largest makes room.
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->size >= bytes && (best == free_.end() || it->size < best->size)) {
        best = it;
      }
    }
    if (best != free_.end()) {
      Buffer buffer = std::move(*best);
      free_.erase(best);
      return buffer;
    }
    if (!free_.empty()) free_.pop_back();
  }
  return {std::unique_ptr<std::byte[]>(new std::byte[bytes]), bytes};
}

void StagingPool::give_back(Buffer buffer) {
  std::lock_guard lock(mutex_);
  free_.push_back(std::move(buffer));
}

MpiOps MpiOps::create() {
  MpiOps ops;
  ops.float_min = create_op<at::kFloat, ReduceOp::min>();
  ops.float_max = create_op<at::kFloat, ReduceOp::max>();
  ops.double_min = create_op<at::kDouble, ReduceOp::min>();
  ops.double_max = create_op<at::kDouble, ReduceOp::max>();
  ops.bf16_sum = create_op<at::kBFloat16, ReduceOp::sum>();
  ops.bf16_min = create_op<at::kBFloat16, ReduceOp::min>();
  ops.bf16_max = create_op<at::kBFloat16, ReduceOp::max>();
  return ops;
}

void MpiOps::free() {
  for (MPI_Op* op : {&float_min,
                     &float_max,
                     &double_min,
                     &double_max,
                     &bf16_sum,
                     &bf16_min,
                     &bf16_max}) {
    MPI_Op_free(op);
  }
}

std::unique_ptr<Communicator> make_mpi_communicator(
    std::shared_ptr<const MpiContext> context,
    MPI_Comm comm,
    int rank,
    int size,
    std::string axis,
    std::int64_t max_count) {
  MUMOE_CHECK(max_count >= 1 && max_count <= kMpiMaxCount);
  return std::make_unique<MpiCommunicator>(
      std::make_shared<Group>(std::move(context), comm),
      rank,
      size,
      std::move(axis),
      max_count);
}

std::unique_ptr<Communicator> duplicate(Communicator& world,
                                        std::string axis,
                                        std::int64_t max_count) {
  return dynamic_cast<MpiCommunicator&>(world).duplicate(std::move(axis),
                                                         max_count);
}

}  // namespace mumoe::dist
