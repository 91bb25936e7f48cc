"""SOAP (Vyas et al. 2024, arXiv 2409.11321): Adam in the eigenbasis of Shampoo's preconditioner."""

import torch


class SOAP(torch.optim.Optimizer):
    """For matrices Adam in slowly rotating eigenbases of G G^T and G^T G, for everything else Adam (algorithm 3 of the paper).

    Parameters
    ----------
    parameters : iterable of tensors
    lr : float
        Learning rate.
    beta : float
        Decay of all running means.
    eps : float
    every : int
        Steps between two updates of the eigenbases, by one QR iteration.
    """

    def __init__(self, parameters, lr: float, beta: float = 0.95, eps: float = 1e-8, every: int = 10):
        super().__init__(parameters, {"lr": lr, "beta": beta, "eps": eps, "every": every})

    @torch.no_grad()
    def step(self, closure=None):
        """One step; the first only starts the eigenbases."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, self.state[parameter], group)
        return loss

    def _update(self, parameter, gradient, state, group) -> None:
        if not state:
            self._start(gradient, state)
            return
        beta, state["t"] = group["beta"], state["t"] + 1
        state["mean"].lerp_(gradient, 1 - beta)
        turned, mean = _turn(gradient, state), _turn(state["mean"], state)
        state["square"].mul_(beta).addcmul_(turned, turned, value=1 - beta)
        correction = 1 - beta ** state["t"]
        change = (mean / correction) / ((state["square"] / correction).sqrt() + group["eps"])
        parameter.add_(_turn(change, state, back=True), alpha=-group["lr"])
        if "left" in state:
            self._precondition(gradient, state, beta, state["t"] % group["every"] == 0)

    @staticmethod
    def _start(gradient, state) -> None:
        state |= {"t": 0, "mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
        if gradient.ndim == 2:
            for side, gram in (("left", gradient @ gradient.T), ("right", gradient.T @ gradient)):
                state |= {side: gram, f"{side}_basis": torch.linalg.eigh(gram)[1]}

    @staticmethod
    def _precondition(gradient, state, beta: float, refresh: bool) -> None:
        for side, gram in (("left", gradient @ gradient.T), ("right", gradient.T @ gradient)):
            state[side].lerp_(gram, 1 - beta)
            if refresh:
                state[f"{side}_basis"] = torch.linalg.qr(state[side] @ state[f"{side}_basis"])[0]


def _turn(matrix, state, back: bool = False):
    """Into the eigenbases, or back."""
    if "left" not in state:
        return matrix
    left, right = state["left_basis"], state["right_basis"]
    return left @ matrix @ right.T if back else left.T @ matrix @ right
