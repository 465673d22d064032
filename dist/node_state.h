#pragma once

#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace mumoe::dist {

/// What a node of autograd keeps for its backward pass, as one struct. Its
/// tensors are those that `state.each(f)` calls `f` with, always in the same
/// order; undefined ones are kept too. They are saved as autograd saves
/// tensors: it refuses those that were changed meanwhile, and frees all after
/// backward. Called once, in forward.
template <class State>
void keep(torch::autograd::AutogradContext& context, State state);

/// The same state, in backward. Throws when it has been freed.
template <class State>
State kept(torch::autograd::AutogradContext& context);

namespace detail {

template <class State>
struct StateHolder final : torch::CustomClassHolder {
  explicit StateHolder(State value) : state(std::move(value)) {}
  State state;
};

template <class State>
concept HasTensors = requires(State& state) {
  state.each([](at::Tensor&) {});
};

constexpr const char* kState = "state";

}  // namespace detail

template <class State>
void keep(torch::autograd::AutogradContext& context, State state) {
  if constexpr (detail::HasTensors<State>) {
    torch::autograd::variable_list tensors;
    state.each([&](at::Tensor& tensor) {
      tensors.push_back(std::exchange(tensor, at::Tensor()));
    });
    context.save_for_backward(std::move(tensors));
  }
  context.saved_data[detail::kState] = c10::IValue::make_capsule(
      c10::make_intrusive<detail::StateHolder<State>>(std::move(state)));
}

template <class State>
State kept(torch::autograd::AutogradContext& context) {
  const auto holder = context.saved_data.at(detail::kState).toCapsule();
  State state = static_cast<detail::StateHolder<State>&>(*holder).state;
  if constexpr (detail::HasTensors<State>) {
    auto tensors = context.get_saved_variables();
    auto next = tensors.begin();
    state.each([&](at::Tensor& tensor) { tensor = std::move(*next++); });
  }
  return state;
}

}  // namespace mumoe::dist
