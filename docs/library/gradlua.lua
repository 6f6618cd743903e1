---@meta
--- Stubs for the Lua language server, written by scripts/docs.

---@class gradlua.Tensor
local Tensor = {}

---@class gradlua
local gl = {}
gl.nn, gl.optim, gl.data, gl.plot = {}, { schedule = {} }, {}, {}

--- a tensor from a number or a nested table of numbers, or of tensors to be stacked; always a copy
function gl.tensor(data, options) end
--- all 0
function gl.zeros(shape, options, ...) end
--- all 1
function gl.ones(shape, options, ...) end
--- all `value`; the shape is a table
function gl.full(shape, value, options) end
--- the identity matrix
function gl.eye(rows, columns, options) end
--- from (1), from + step, ... up to and including `to`
function gl.arange(from, to, step, options) end
--- n evenly spaced points, both ends included
function gl.linspace(from, to, n, options) end
--- zeros of x's shape and dtype
function gl.zeros_like(x, options) end
function Tensor:zeros_like(options) end
--- ones of x's shape and dtype
function gl.ones_like(x, options) end
function Tensor:ones_like(options) end
--- `value` in x's shape and dtype
function gl.full_like(x, value, options) end
function Tensor:full_like(value, options) end
--- seeds the generator that gl.rand and the others use
function gl.manual_seed(n) end
--- a generator of its own, with the same methods
function gl.generator(seed) end
--- uniform in [0, 1)
function gl.rand(shape, options, ...) end
--- standard normal
function gl.randn(shape, options, ...) end
--- integers lo .. hi, both included
function gl.randint(lo, hi, shape) end
--- 1 .. n in random order
function gl.randperm(n) end
--- 1 with probability p, else 0
function gl.bernoulli(p, shape, options) end
function Tensor:bernoulli(shape, options) end
--- n rows of x, or numbers from 1 .. x, at random
function gl.choice(x, n, options) end
function Tensor:choice(n, options) end
--- the extents, one an axis
function gl.shape(x) end
function Tensor:shape() end
--- the extent of one axis
function gl.size(x, axis) end
function Tensor:size(axis) end
--- the number of axes
function gl.ndim(x) end
function Tensor:ndim() end
--- the number of elements
function gl.numel(x) end
function Tensor:numel() end
--- "f64", "f32", "i64" or "bool"
function gl.dtype(x) end
function Tensor:dtype() end
--- the value of a tensor with one element
function gl.item(x) end
function Tensor:item() end
--- the values as Lua values
function gl.totable(x) end
function Tensor:totable() end
--- is it a tensor, concrete or traced?
function gl.is_tensor(value) end
--- are the elements in row order without gaps?
function gl.is_contiguous(x) end
function Tensor:is_contiguous() end
--- `for row in x:iter()` walks the first axis
function gl.iter(x) end
function Tensor:iter() end
--- a row-major copy with memory of its own
function gl.clone(x) end
function Tensor:clone() end
--- converted to "f64", "f32", "i64" (truncates) or "bool" (not 0)
function gl.to(x, dtype) end
function Tensor:to(dtype) end
--- in place: the values of `source`, broadcast and converted
function gl.copy_(x, source) end
function Tensor:copy_(source) end
--- in place: every element becomes `value`
function gl.fill_(x, value) end
function Tensor:fill_(value) end
--- in place: every element becomes 0
function gl.zero_(x) end
function Tensor:zero_() end
--- a copy of x with the part at `index` replaced; differentiable
function gl.put(x, index, value) end
function Tensor:put(index, value) end
--- the same elements in row order in another shape; one extent may be -1
function gl.reshape(x, shape, ...) end
function Tensor:reshape(shape, ...) end
--- x in the shape of another tensor
function gl.view_as(x, other) end
function Tensor:view_as(other) end
--- axes first .. last (all) as one
function gl.flatten(x, first, last) end
function Tensor:flatten(first, last) end
--- two axes exchanged (the last two)
function gl.transpose(x, a, b) end
function Tensor:transpose(a, b) end
--- the last two axes exchanged
function gl.t(x) end
function Tensor:t() end
--- the axes in a new order
function gl.permute(x, axes, ...) end
function Tensor:permute(axes, ...) end
--- a new axis of extent 1 at `axis`
function gl.unsqueeze(x, axis) end
function Tensor:unsqueeze(axis) end
--- without axes of extent 1, or without that one
function gl.squeeze(x, axis) end
function Tensor:squeeze(axis) end
--- repeated along axes of extent 1, without a copy; -1 keeps an extent
function gl.expand(x, shape, ...) end
function Tensor:expand(shape, ...) end
--- the order along the axes (all) reversed
function gl.flip(x, axis) end
function Tensor:flip(axis) end
--- moved along an axis, what leaves comes in at the other end
function gl.roll(x, shift, axis) end
function Tensor:roll(shift, axis) end
--- the whole repeated along each axis
function gl.tile(x, repeats, ...) end
function Tensor:tile(repeats, ...) end
--- each element repeated n times
function gl.repeat_interleave(x, n, axis) end
function Tensor:repeat_interleave(n, axis) end
--- tensors one after the other along an axis
function gl.concat(list, axis) end
--- tensors of one shape side by side along a new axis
function gl.stack(list, axis) end
--- parts of the given extents
function gl.split(x, sizes, axis) end
function Tensor:split(sizes, axis) end
--- at most n parts of equal extent, the last one smaller
function gl.chunk(x, n, axis) end
function Tensor:chunk(n, axis) end
--- filled up by {before, after} entries along each axis
function gl.pad(x, pairs, options) end
function Tensor:pad(pairs, options) end
--- a + b; i64 wraps
function gl.add(a, b) end
function Tensor:add(b) end
--- a - b; i64 wraps
function gl.sub(a, b) end
function Tensor:sub(b) end
--- a * b; i64 wraps
function gl.mul(a, b) end
function Tensor:mul(b) end
--- a / b in floats
function gl.div(a, b) end
function Tensor:div(b) end
--- a ^ b; x^0 is 1 everywhere; the slope in b at 0^0 is 0
function gl.pow(a, b) end
function Tensor:pow(b) end
--- floor(a / b); slope 0; an i64 division by zero is an error
function gl.floordiv(a, b) end
function Tensor:floordiv(b) end
--- a - floor(a / b) * b, with the sign of b, as in Lua; slopes 1 and -floor(a / b); i64 by zero is an error
function gl.mod(a, b) end
function Tensor:mod(b) end
--- -a
function gl.neg(x) end
function Tensor:neg() end
--- absolute value; slope 0 at 0
function gl.abs(x) end
function Tensor:abs() end
--- -1, 0 or 1; NaN of NaN; slope 0
function gl.sign(x) end
function Tensor:sign() end
--- a * a
function gl.square(x) end
function Tensor:square() end
--- 1 / a
function gl.reciprocal(x) end
function Tensor:reciprocal() end
--- the larger; NaN if either is; a tie shares the slope, 1/2 each
function gl.maximum(a, b) end
function Tensor:maximum(b) end
--- the smaller; NaN if either is; a tie shares the slope, 1/2 each
function gl.minimum(a, b) end
function Tensor:minimum(b) end
--- limited to [lo, hi]; nil for no bound; slope 1 at the edges
function gl.clamp(x, lo, hi) end
function Tensor:clamp(lo, hi) end
--- product in which a zero factor wins over Inf and NaN
function gl.mulz(a, b) end
function Tensor:mulz(b) end
--- e ^ a
function gl.exp(x) end
function Tensor:exp() end
--- 2 ^ a
function gl.exp2(x) end
function Tensor:exp2() end
--- e ^ a - 1 without cancellation near 0
function gl.expm1(x) end
function Tensor:expm1() end
--- natural logarithm
function gl.log(x) end
function Tensor:log() end
--- log(1 + a) without cancellation near 0
function gl.log1p(x) end
function Tensor:log1p() end
--- logarithm to base 2
function gl.log2(x) end
function Tensor:log2() end
--- logarithm to base 10
function gl.log10(x) end
function Tensor:log10() end
--- square root, correctly rounded
function gl.sqrt(x) end
function Tensor:sqrt() end
--- 1 / sqrt(a)
function gl.rsqrt(x) end
function Tensor:rsqrt() end
--- cube root, of negative numbers too
function gl.cbrt(x) end
function Tensor:cbrt() end
--- sqrt(a^2 + b^2) without overflow; slopes 0 at the origin
function gl.hypot(a, b) end
function Tensor:hypot(b) end
--- sine
function gl.sin(x) end
function Tensor:sin() end
--- cosine
function gl.cos(x) end
function Tensor:cos() end
--- tangent
function gl.tan(x) end
function Tensor:tan() end
--- arc sine
function gl.asin(x) end
function Tensor:asin() end
--- arc cosine
function gl.acos(x) end
function Tensor:acos() end
--- arc tangent
function gl.atan(x) end
function Tensor:atan() end
--- angle of the point (b, a); slopes 0 at the origin
function gl.atan2(a, b) end
function Tensor:atan2(b) end
--- hyperbolic sine
function gl.sinh(x) end
function Tensor:sinh() end
--- hyperbolic cosine
function gl.cosh(x) end
function Tensor:cosh() end
--- hyperbolic tangent
function gl.tanh(x) end
function Tensor:tanh() end
--- inverse hyperbolic sine
function gl.asinh(x) end
function Tensor:asinh() end
--- inverse hyperbolic cosine
function gl.acosh(x) end
function Tensor:acosh() end
--- inverse hyperbolic tangent
function gl.atanh(x) end
function Tensor:atanh() end
--- error function
function gl.erf(x) end
function Tensor:erf() end
--- 1 - erf(a) without cancellation for large a
function gl.erfc(x) end
function Tensor:erfc() end
--- log |gamma(a)|
function gl.lgamma(x) end
function Tensor:lgamma() end
--- derivative of lgamma; NaN at 0, -1, -2, ...
function gl.digamma(x) end
function Tensor:digamma() end
--- derivative of digamma; Inf at 0, -1, -2, ...
function gl.trigamma(x) end
function Tensor:trigamma() end
--- a-th derivative of digamma at b, a = 0 to 170; no derivative in a
function gl.polygamma(a, b) end
function Tensor:polygamma(b) end
--- largest integer not above; slope 0
function gl.floor(x) end
function Tensor:floor() end
--- smallest integer not below; slope 0
function gl.ceil(x) end
function Tensor:ceil() end
--- nearest integer, halves to even (as NumPy, PyTorch and JAX do); slope 0
function gl.round(x) end
function Tensor:round() end
--- log(e^a + e^b) without overflow
function gl.logaddexp(a, b) end
function Tensor:logaddexp(b) end
--- max(a, 0); slope 0 at 0
function gl.relu(x) end
function Tensor:relu() end
--- x where positive, else slope * x; slope at 0: `slope`
function gl.leaky_relu(x, slope) end
function Tensor:leaky_relu(slope) end
--- x where positive, else alpha (e^x - 1)
function gl.elu(x, alpha) end
function Tensor:elu(alpha) end
--- scaled elu with the fixed point of self-normalizing networks
function gl.selu(x) end
function Tensor:selu() end
--- x times the normal distribution function; approximate = "tanh"
function gl.gelu(x, options) end
function Tensor:gelu(options) end
--- x * sigmoid(x)
function gl.silu(x) end
function Tensor:silu() end
--- 1 / (1 + e^-a)
function gl.sigmoid(x) end
function Tensor:sigmoid() end
--- log(sigmoid(a)) without overflow
function gl.logsigmoid(x) end
function Tensor:logsigmoid() end
--- log(1 + e^a) without overflow
function gl.softplus(x) end
function Tensor:softplus() end
--- a / (1 + |a|)
function gl.softsign(x) end
function Tensor:softsign() end
--- clamp to [-1, 1]
function gl.hardtanh(x) end
function Tensor:hardtanh() end
--- exponentials that sum to 1 along the axis
function gl.softmax(x, axis) end
function Tensor:softmax(axis) end
--- log of softmax, without overflow
function gl.log_softmax(x, axis) end
function Tensor:log_softmax(axis) end
--- a equals b
function gl.eq(a, b) end
function Tensor:eq(b) end
--- a differs from b; true when either is NaN
function gl.ne(a, b) end
function Tensor:ne(b) end
--- a < b
function gl.lt(a, b) end
function Tensor:lt(b) end
--- a <= b
function gl.le(a, b) end
function Tensor:le(b) end
--- a > b
function gl.gt(a, b) end
function Tensor:gt(b) end
--- a >= b
function gl.ge(a, b) end
function Tensor:ge(b) end
--- is a not a number?
function gl.isnan(x) end
function Tensor:isnan() end
--- is a an infinity of either sign?
function gl.isinf(x) end
function Tensor:isinf() end
--- is a neither infinite nor NaN?
function gl.isfinite(x) end
function Tensor:isfinite() end
--- both
function gl.logical_and(a, b) end
function Tensor:logical_and(b) end
--- either
function gl.logical_or(a, b) end
function Tensor:logical_or(b) end
--- the opposite
function gl.logical_not(x) end
function Tensor:logical_not() end
--- exactly one of the two
function gl.xor(a, b) end
function Tensor:xor(b) end
--- b where the mask a is true, else c
function gl.where(a, b, c) end
function Tensor:where(b, c) end
--- sum over all axes, one, or a list
function gl.sum(x, axis, options) end
function Tensor:sum(axis, options) end
--- arithmetic mean
function gl.mean(x, axis, options) end
function Tensor:mean(axis, options) end
--- product; derivatives are right with zeros too
function gl.prod(x, axis, options) end
function Tensor:prod(axis, options) end
--- largest value; ties share the derivative; max(a, b) of two tensors is maximum
function gl.max(x, axis, options) end
function Tensor:max(axis, options) end
--- smallest value; ties share the derivative; min(a, b) of two tensors is minimum
function gl.min(x, axis, options) end
function Tensor:min(axis, options) end
--- position of the first largest value; with no axis, in row order
function gl.argmax(x, axis, options) end
function Tensor:argmax(axis, options) end
--- Of a tensor, argmin(x [, axis] [, {keepdim = false}]): the position of the first smallest value, with no axis in row order. Of a function, argmin(f, x0, ...): the point near x0 where f(x, ...) is least, and gl.minimize's result; differentiable in the further arguments by the implicit function theorem. See gl.minimize for the options method, tol, max_iter, memory.
function gl.argmin(first, ...) end
--- variance: squared deviations over n - correction
function gl.var(x, axis, options) end
function Tensor:var(axis, options) end
--- standard deviation: the root of var
function gl.std(x, axis, options) end
function Tensor:std(axis, options) end
--- p-norm, over all entries by default; slope 0 at 0
function gl.norm(x, axis, options) end
function Tensor:norm(axis, options) end
--- log of the sum of exponentials, without overflow
function gl.logsumexp(x, axis, options) end
function Tensor:logsumexp(axis, options) end
--- is any element true (not 0)?
function gl.any(x, axis, options) end
function Tensor:any(axis, options) end
--- are all elements true (not 0)?
function gl.all(x, axis, options) end
function Tensor:all(axis, options) end
--- median; the mean of the two in the middle of an even count
function gl.median(x, axis, options) end
function Tensor:median(axis, options) end
--- running sum
function gl.cumsum(x, axis) end
function Tensor:cumsum(axis) end
--- running product
function gl.cumprod(x, axis) end
function Tensor:cumprod(axis) end
--- stable sort along an axis
function gl.sort(x, axis, options) end
function Tensor:sort(axis, options) end
--- the positions that sort
function gl.argsort(x, axis, options) end
function Tensor:argsort(axis, options) end
--- the k largest, largest first; of equal ones the first, and the derivative is that of the positions given
function gl.topk(x, k, axis, options) end
function Tensor:topk(k, axis, options) end
--- matrix product over the last two axes; vectors allowed, leading axes broadcast
function gl.matmul(a, b) end
function Tensor:matmul(b) end
--- matmul
function gl.mm(a, b) end
function Tensor:mm(b) end
--- inner product of two vectors
function gl.dot(a, b) end
function Tensor:dot(b) end
--- outer product of two vectors
function gl.outer(a, b) end
function Tensor:outer(b) end
--- matrix products of two batches
function gl.bmm(a, b) end
function Tensor:bmm(b) end
--- sum of products over letters: "ij,jk->ik" is the matrix product
function gl.einsum(spec, tensors, ...) end
--- Kronecker product
function gl.kron(a, b) end
function Tensor:kron(b) end
--- sum of the diagonal of the last two axes
function gl.trace(x) end
function Tensor:trace() end
--- a vector as diagonal k of a matrix; of more axes, that diagonal
function gl.diag(x, k) end
function Tensor:diag(k) end
--- the lower triangle, up to diagonal k, zeros elsewhere
function gl.tril(x, k) end
function Tensor:tril(k) end
--- the upper triangle, from diagonal k, zeros elsewhere
function gl.triu(x, k) end
function Tensor:triu(k) end
--- the inverse of a square matrix
function gl.inv(a) end
function Tensor:inv() end
--- the x with a x = b, for a square matrix a; b holds columns, or is one vector
function gl.solve(a, b) end
function Tensor:solve(b) end
--- the lower factor l, l l' = a, of a symmetric positive definite matrix
function gl.cholesky(a) end
function Tensor:cholesky() end
--- the x with l l' x = b, for a lower factor l of cholesky
function gl.cholesky_solve(l, b) end
function Tensor:cholesky_solve(b) end
--- the x with a x = b, for a triangular matrix a
function gl.triangular_solve(a, b, options) end
function Tensor:triangular_solve(b, options) end
--- the x that makes |a x - b| least, for a matrix a of full rank
function gl.lstsq(a, b) end
function Tensor:lstsq(b) end
--- the determinant
function gl.det(a) end
function Tensor:det() end
--- the logarithm of the determinant; NaN when that is negative
function gl.logdet(a) end
function Tensor:logdet() end
--- the determinant's sign, and the logarithm of its magnitude
function gl.slogdet(a) end
function Tensor:slogdet() end
--- orthonormal columns q and an upper triangular r with q r = a
function gl.qr(a) end
function Tensor:qr() end
--- singular values s, largest first, and orthonormal u, vt with u diag(s) vt = a
function gl.svd(a) end
function Tensor:svd() end
--- eigenvalues, smallest first, and eigenvectors in columns, of a symmetric matrix
function gl.eigh(a) end
function Tensor:eigh() end
--- the exponential of a square matrix
function gl.matrix_exp(a) end
function Tensor:matrix_exp() end
--- y[i][j] = x[positions[i][j]][j] for axis 1
function gl.gather(x, axis, positions) end
function Tensor:gather(axis, positions) end
--- a copy of x with x[positions[i][j]][j] increased by source[i][j] for axis 1
function gl.scatter_add(x, axis, positions, source) end
function Tensor:scatter_add(axis, positions, source) end
--- the rows of a table at positions
function gl.embedding(table, positions) end
function Tensor:embedding(positions) end
--- 1 at the position along a new last axis, 0 elsewhere
function gl.one_hot(positions, n, options) end
function Tensor:one_hot(n, options) end
--- positions of the elements that are not 0, one row each
function gl.nonzero(x) end
function Tensor:nonzero() end
--- cross-correlation of signals N C L with weights O C/groups K
function gl.conv1d(x, w, options) end
function Tensor:conv1d(w, options) end
--- cross-correlation of images N C H W with weights O C/groups KH KW
function gl.conv2d(x, w, options) end
function Tensor:conv2d(w, options) end
--- largest value in windows of the last two axes
function gl.max_pool2d(x, k, options) end
function Tensor:max_pool2d(k, options) end
--- mean over windows of the last two axes
function gl.avg_pool2d(x, k, options) end
function Tensor:avg_pool2d(k, options) end
--- a function that gives the gradient of f, which returns one number, in the chosen arguments, one result each, of the structure of the argument; argnums: a position, a list of positions, or "all"
function gl.grad(f, argnums) end
--- a function that gives f's value, its gradients as gl.grad does, then whatever else f returned
function gl.value_and_grad(f, argnums) end
--- f's value and its derivative along the tangents v, one for each argument and of its structure, in one forward pass; then whatever else f returned
function gl.jvp(f, options, ...) end
--- f's value, a function from a cotangent of it (of its structure; a number for one number) to a cotangent for each argument, to be called as often as wanted, then whatever else f returned
function gl.vjp(f, x, ...) end
--- f's value, its derivative there as a function of a tangent for each argument, which reuses what was computed, then whatever else f returned
function gl.linearize(f, x, ...) end
--- The rate of change of f along v in its first argument, as v is, or with `normalize` along its unit vector; arguments after v go to f. A v of length 0 has no unit vector: an error.
function gl.directional(f, options) end
--- a function that gives the Jacobian (shape out x in; J.output.input for tables); mode: forward (a sweep an input), reverse (a sweep an output), sparse (the matrix of gl.sparse_jacobian), auto (the cheaper of the first two); tell: the mode that was taken is a second result
function gl.jacobian(f, options) end
--- a function that gives all second derivatives of f, which returns one number (shape in x in; H.input.input for tables)
function gl.hessian(f, argnum) end
--- a function that gives the product of the Hessian of f, which returns one number, at f(x, ...) with v, which has the structure of argument argnum, without the matrix
function gl.hvp(f, argnum) end
--- a function that gives the second derivatives of f, which returns one number, in each entry alone
function gl.hessian_diag(f, argnum) end
--- the Jacobian where it is not zero, nil when more than the share densest of it may be so; a table counts as one vector of all its entries; a sparse matrix: fields shape nnz colors row col indptr values, methods dense matmul update
function gl.sparse_jacobian(f, x, options) end
--- the Hessian where it is not zero; a table counts as one vector of all its entries; a sparse matrix: fields shape nnz colors row col indptr values, methods dense matmul update
function gl.sparse_hessian(f, x) end
--- f for many examples at once, along an axis of the arguments; false: an argument, or a result, that all examples share; a table of axes for a table of tensors. Each draws its own random numbers, as in a loop over the examples
function gl.vmap(f, options) end
--- f, recorded once for each signature of its arguments (tensors by dtype and shape, numbers as integers or floats); static: positions of arguments that are constants, as those must be which shapes, counts of Lua's loops and its comparisons depend on; donate: true, or positions of arguments that are given away, so that results may take their memory; check: each call is compared with f itself; :stats() tells hits and retraces
function gl.jit(f, options) end
--- x (a tensor, a number, or a table of them) as a constant for every derivative
function gl.stop_gradient(x) end
function Tensor:stop_gradient() end
--- f, whose derivatives in reverse keep its arguments only and compute the rest again.
function gl.checkpoint(f) end
--- f with derivative rules of its own. jvp(primals, tangents) -> value, tangent; vjp(primals, cotangent) -> cotangents. Arguments and their tangents come as lists. A missing rule is derived from the other one. For an f of several results jvp gives these, then a tangent for each, and vjp takes a cotangent for each.
function gl.custom(f, rules) end
--- f(...) where p holds, otherwise g(...); p is a boolean or a 0-d bool tensor. Where values are known this is plain Lua, and under jit, vmap and in staged loops both branches are recorded: they must give results of one structure; whichever is taken, a generator that they draw from moves on by as much as the one that draws more.
function gl.cond(p, f, g, ...) end
--- state = step(state) as long as test(state), a boolean or a 0-d bool tensor, holds. The state may be any structure; where the loop is recorded it keeps its shapes and dtypes. Differentiable forward and reverse. Random draws are new at every step; those of a recorded loop come from a stream of their own, since it is not known how many there will be: they are not the numbers of the plain loop.
function gl.while_loop(test, step, init) end
--- s = f(i, s) for i = 1 .. n, from init. checkpoint: reverse mode keeps the state of every k-th step, or of about the square root of all ("sqrt"), and computes the others again. A number of steps that is not known while the loop is recorded makes it a while_loop. Random draws are new at every step, recorded or not; the reverse loop uses those of the forward one.
function gl.fori(n, f, init, options) end
--- carry, y = f(carry, x) for each row x of xs (a tensor, or a table of them), in order or in reverse: the last carry, and the ys stacked. checkpoint and random draws as in gl.fori.
function gl.scan(f, init, xs, options) end
--- The x with f(x, ...) = 0 nearest by from x0, and a table {converged, status, message, residual, method, iterations, evaluations}. Under jit and vmap it is Newton's method from x0, and NaN when that fails. f gives as many numbers as x has. Differentiable in the further arguments. Options: method (hybrid, newton, broyden, anderson), tol (largest entry of f).
function gl.root(f, x0, options, ...) end
--- The x with g(x, ...) = x, by Anderson's acceleration; results and options as gl.root's (memory 0: plain iteration).
function gl.fixed_point(g, x0, options, ...) end
--- Of a tensor, argmin(x [, axis] [, {keepdim = false}]): the position of the first smallest value, with no axis in row order. Of a function, argmin(f, x0, ...): the point near x0 where f(x, ...) is least, and gl.minimize's result; differentiable in the further arguments by the implicit function theorem. See gl.minimize for the options method, tol, max_iter, memory.
function gl.argmin(first, ...) end
--- The solution of y' = f(t, y, ...) with y(ts[1]) = y0, at the times ts.  Times ascend or descend. y0 is a number, a tensor or a nested table, and f returns the same. Options, as a last table: rtol = 1e-8, atol = 1e-10 (of the error of a step), max_steps = 100000, first_step, adjoint = "discrete" | "continuous".
function gl.odeint(f, y0, ts, ...) end
--- compares derivatives with central differences, and forward with reverse mode; order 2: those of the gradient; args: further arguments of f, or with {args = {...}} in place of x all of them; the report prints the worst entries
function gl.gradcheck(f, x, options) end
--- Does f, a function of a number or a tensor that gives a number, have a derivative at x? Not the same as having partial derivatives: those only look along the axes. evidence.reason is a sentence; partials_exist, partials, left and right (slopes on both sides) tell of the axes; remainders (list of {h, remainder, direction}), order (of the remainder in h) and direction (the worst one) of all directions.
function gl.differentiable(f, x) end
--- The kind of point that x is for f, by the second-derivative test: "minimum", "maximum", "saddle", "degenerate" (the test cannot tell) or "not critical"; and the Hessian's eigenvalues, ascending. tol: the largest gradient entry of a critical point, relative to max(1, |f|); zero: the share of the largest eigenvalue within which one counts as 0.
function gl.classify(f, x, options) end
--- the derivatives of f in its arguments as simplified formulas, one text each; order 0: f itself; `at`: a list of arguments, for tensors and for functions that look at values
function gl.formula(f, names, options) end
--- what f does: program, cost of each instruction, plan, and instructions steps fused flops workspace peak; prints
function gl.explain(f, x, ...) end
--- checks every value from now on: the first NaN or Inf, of a value or a derivative, is an error that names its operation and line; gives what it was before
function gl.debug(on) end
--- Norm, share of zeros and a verdict (fine, vanishing, exploding, zeros, no gradient, not finite) for each tensor of a gradient; with the parameters, the size of the gradient relative to them. A field named running_.. without a gradient is a statistic, which is no fault. The report prints as a table with remedies; report.ok tells whether all are fine, report.rows and report.verdicts (by path) hold the figures.
function gl.health(grads, params) end
--- Minimizes f from x0 (a number, a tensor, a nested table) with exact derivatives. Options: method (gd nesterov cg bfgs lbfgs lbfgsb newton newton_cg trust_ncg trust_exact dogleg auglag sqp; chosen from the problem otherwise), bounds ({lower, upper}, numbers or of x0's structure), constraints ({eq = f or list, ineq = f or list}, c(x) = 0 and c(x) >= 0), tol (largest gradient entry, 1e-6), constraint_tol (largest violation, 1e-8), max_iter (10,000), max_eval, max_seconds, f_tol, x_tol (relative changes), target, memory (pairs of lbfgs, 10), initial_step (first step or trust radius), line_search (armijo wolfe hager_zhang), cg_update (pr_plus fr hs), learning_rate (of nesterov; otherwise found by backtracking), penalty (the first) and inner (the method) of auglag, on_step (function of a record; true stops), progress (prints a line a step). The result has x, f, grad, status, message, converged, method, iterations, evaluations and trace.
function gl.minimize(f, x0, options) end
--- A minimizer to be stepped by hand: :step() :run() :result() :state() :load(state). Arguments as gl.minimize's.
function gl.minimizer(f, x0, options) end
--- Minimizes half the sum of squares of r(x) (a tensor of residuals) from x0. Options: method (lm trf gn; lm without bounds, trf with them), bounds ({lower, upper}), loss (linear huber soft_l1 cauchy arctan) with f_scale, geodesic (lm), sparse (true, false; otherwise where the residual's structure is sparse), and gl.minimize's tol, f_tol, x_tol, target, initial_step (trust radius), max_iter, max_eval, max_seconds, on_step, progress. The result has x, f (half the sum), residual, grad, covariance (of the flattened parameters; with a sparse Jacobian only up to 1,000 of them), errors (standard errors, of x0's structure), variance, rank, sparse, status, message, converged, method, iterations, evaluations and trace. tol bounds each gradient entry, relative to the sum of its terms' magnitudes where that is above 1.
function gl.least_squares(r, x0, options) end
--- Writes a nested table of tensors and plain values. The file appears whole or not at all.
function gl.save(path, t) end
--- Reads what `save` wrote, or any other safetensors file (names are split at dots).
function gl.load(path) end
--- Opens a log; an old file of that name is replaced.
function gl.logger(path) end
--- wall-clock time, for differences
function gl.clock() end
--- how many threads large operations use
function gl.set_threads(n) end
--- how many threads large operations use
function gl.get_threads() end
--- of the plan cache, in which transforms find what they derived from an equal trace: hits, misses, evictions, plans, entries, bytes
function gl.cache_stats() end
--- The text for a name such as "grad" or "nn.linear".
function gl.help(path) end
--- Prints values as `print` does, and tables with their entries, in a fixed order.
function gl.show(...) end
--- Self-attention over N x T x size; {causal = true} lets a position see itself and what stands before it. The option `context` of the call (N x S x size) is attended to instead of x.
function gl.nn.attention(size, heads, options) end
--- Windows of size x size, or of {height, width}; stride and padding are numbers or pairs too.
function gl.nn.avg_pool2d(size, options) end
--- Mean 0 and variance 1 for each channel (axis 2) over the batch, then weight * x + bias. Ioffe, Szegedy 2015. While training, the batch's statistics are used; otherwise params.running_mean and params.running_var. A layer is a pure function, so it does not change these: it puts the new ones into the list `options.updates`, if there is one, which a loss returns after its value and `nn.update` then writes into the parameters.
function gl.nn.batch_norm(channels, options) end
--- binary cross-entropy of probabilities
function gl.nn.bce(prediction, target, options) end
--- binary cross-entropy of logits
function gl.nn.bce_with_logits(prediction, target, options) end
--- Convolution with windows of `size`; size, stride, padding and dilation are numbers, or lists of one for each axis. params.weight is outputs x channels / groups x size (x size), params.bias outputs. Both start uniform within 1 / sqrt(fan in), unless `init` is given, with which biases start at zero.
function gl.nn.conv1d(channels, outputs, size, options) end
--- Convolution with windows of `size`; size, stride, padding and dilation are numbers, or lists of one for each axis. params.weight is outputs x channels / groups x size (x size), params.bias outputs. Both start uniform within 1 / sqrt(fan in), unless `init` is given, with which biases start at zero.
function gl.nn.conv2d(channels, outputs, size, options) end
--- 1 - cosine of the angle, for each row
function gl.nn.cosine(prediction, target, options) end
--- How many numbers a table of parameters holds.
function gl.nn.count(params) end
--- cross-entropy of logits with labels 1..C, or with probabilities, for each row
function gl.nn.cross_entropy(prediction, target, options) end
--- Zeroes entries with probability `p` while training, and scales the others by 1 / (1 - p). Draws from the option `generator` of the call, if there is one.
function gl.nn.dropout(p) end
--- a layer without parameters
function gl.nn.elu(params, x, options) end
--- Rows of a table, picked by positions (i64, from 1). params.weight is count x size.
function gl.nn.embedding(count, size, options) end
--- a layer without parameters
function gl.nn.flatten(params, x, options) end
--- a layer without parameters
function gl.nn.gelu(params, x, options) end
--- A layer over sequences N x T x inputs, giving all states N x T x size and the last one ({h, c} for lstm). The option `state` of the call is the state to start from, zeros otherwise.
function gl.nn.gru(inputs, size, options) end
--- a layer without parameters
function gl.nn.hardtanh(params, x, options) end
--- Normal with standard deviation gain / sqrt(fan in). He et al. 2015.
function gl.nn.he_normal(shape, generator, options, ...) end
--- Uniform within gain * sqrt(3 / fan in): keeps variances through layers with ReLU. He et al. 2015.
function gl.nn.he_uniform(shape, generator, options, ...) end
--- max(0, 1 - target * prediction), targets -1 and 1
function gl.nn.hinge(prediction, target, options) end
--- quadratic up to delta, linear beyond (Huber 1964)
function gl.nn.huber(prediction, target, options) end
--- divergence of log-probabilities from probabilities, for each row
function gl.nn.kl_div(prediction, target, options) end
--- A layer of one's own: init(generator) gives its parameters (none when left out), apply(params, x, options) its value. `options` lists what of the call's options it reads beside train, generator, updates, state and context, `children` the layers inside, `needs` tensors that the parameters must hold; `detail` is shown in parentheses.
function gl.nn.layer(options) end
--- Mean 0 and variance 1 along the last axis, then weight * x + bias. Ba, Kiros, Hinton 2016.
function gl.nn.layer_norm(size, options) end
--- a layer without parameters
function gl.nn.leaky_relu(params, x, options) end
--- x W' + b on the last axis. params.weight is outputs x inputs, params.bias outputs. Both start uniform within 1 / sqrt(inputs), unless `init` is given, with which biases start at zero.
function gl.nn.linear(inputs, outputs, options) end
--- a layer without parameters
function gl.nn.log_softmax(params, x, options) end
--- a layer without parameters
function gl.nn.logsigmoid(params, x, options) end
--- A layer over sequences N x T x inputs, giving all states N x T x size and the last one ({h, c} for lstm). The option `state` of the call is the state to start from, zeros otherwise.
function gl.nn.lstm(inputs, size, options) end
--- sizes of the differences
function gl.nn.mae(prediction, target, options) end
--- Windows of size x size, or of {height, width}; stride and padding are numbers or pairs too.
function gl.nn.max_pool2d(size, options) end
--- squares of the differences
function gl.nn.mse(prediction, target, options) end
--- negative log-likelihood of labels 1..C under log-probabilities, for each row
function gl.nn.nll(prediction, target, options) end
--- Normal with mean 0 and standard deviation std.
function gl.nn.normal(shape, generator, options, ...) end
--- All 1.
function gl.nn.ones(shape, generator, options, ...) end
--- Rows (or columns, whichever are fewer) orthonormal times gain; axes after the first are taken as one. Saxe et al. 2014.
function gl.nn.orthogonal(shape, generator, options, ...) end
--- a layer without parameters
function gl.nn.relu(params, x, options) end
--- x + inner(x), for a layer or a plain function of one tensor.
function gl.nn.residual(inner) end
--- A layer over sequences N x T x inputs, giving all states N x T x size and the last one ({h, c} for lstm). The option `state` of the call is the state to start from, zeros otherwise.
function gl.nn.rnn(inputs, size, options) end
--- a layer without parameters
function gl.nn.selu(params, x, options) end
--- Layers after one another, in a list or as arguments; params[i] belongs to the i-th. A layer may be one of your own: what can be called and has `init`. A plain function of one tensor may stand for a layer.
function gl.nn.sequential(options) end
--- a layer without parameters
function gl.nn.sigmoid(params, x, options) end
--- a layer without parameters
function gl.nn.silu(params, x, options) end
--- a layer without parameters
function gl.nn.softmax(params, x, options) end
--- a layer without parameters
function gl.nn.softplus(params, x, options) end
--- a layer without parameters
function gl.nn.softsign(params, x, options) end
--- a layer without parameters
function gl.nn.tanh(params, x, options) end
--- Uniform in [-bound, bound].
function gl.nn.uniform(shape, generator, options, ...) end
--- Writes the statistics that batch_norm put into `updates` into the parameters: after opt:step(grads) in a training loop.
function gl.nn.update(updates) end
--- Normal with standard deviation gain * sqrt(2 / (fan in + fan out)). Glorot and Bengio 2010.
function gl.nn.xavier_normal(shape, generator, options, ...) end
--- Uniform within gain * sqrt(6 / (fan in + fan out)): keeps variances through tanh-like layers, forward and backward. Glorot and Bengio 2010.
function gl.nn.xavier_uniform(shape, generator, options, ...) end
--- All 0.
function gl.nn.zeros(shape, generator, options, ...) end
--- Zeiler (2012)
function gl.optim.adadelta(params, options, ...) end
--- Duchi, Hazan, Singer (2011)
function gl.optim.adagrad(params, options, ...) end
--- Kingma, Ba (2014)
function gl.optim.adam(params, options, ...) end
--- Kingma, Ba (2014), section 7
function gl.optim.adamax(params, options, ...) end
--- Loshchilov, Hutter (2017)
function gl.optim.adamw(params, options, ...) end
--- Reddi, Kale, Kumar (2018): adam with the largest second moment
function gl.optim.amsgrad(params, options, ...) end
--- Polyak, Juditsky (1992)
function gl.optim.asgd(params, options, ...) end
--- K-FAC for models of gl.nn (a sequential of linear layers, activations and functions): opt:step(grads, x). Options: model, distribution of the outputs (categorical and bernoulli: logits; gaussian: means of unit variance), lr (1, or a schedule), damping (1e-2), decay (0.95, of the averaged factors), update_every (1 step), kl_clip (1e-2; math.huge for none).
function gl.optim.kfac(params, options) end
--- Limited-memory BFGS for a training loop: opt:step(grads), or opt:step(function(params) return loss end). Options: lr (1, or a schedule: the length of a step by gradients), max_iter (20 iterations of a step by a loss), history_size (100 pairs), tolerance_grad (1e-7), tolerance_change (1e-9, relative change of the loss), line_search (wolfe, hager_zhang, armijo; torch's line_search_fn = "strong_wolfe" is wolfe), initial_step (length of the very first step by a loss).
function gl.optim.lbfgs(params, options) end
--- Chen et al. (2023)
function gl.optim.lion(params, options, ...) end
--- Jordan et al. (2024): momentum made orthogonal, for matrices
function gl.optim.muon(params, options, ...) end
--- Dozat (2016)
function gl.optim.nadam(params, options, ...) end
--- Natural gradient descent (S. Amari (1998)) by conjugate gradients on products with the exact Fisher information, which is never formed. Options: model (function of params and opt:step's further arguments; gives the outputs, one example a row), distribution (gaussian: means of unit variance; normal: the last axis is mean and log standard deviation; bernoulli, categorical: logits), lr (1, or a schedule), damping (1e-3), cg_iter (100), cg_tol (1e-8). The gradient must be that of the mean over the examples.
function gl.optim.natural(params, options) end
--- Liu et al. (2019)
function gl.optim.radam(params, options, ...) end
--- Tieleman, Hinton (2012); centered, Graves (2013)
function gl.optim.rmsprop(params, options, ...) end
--- Riedmiller, Braun (1993)
function gl.optim.rprop(params, options, ...) end
--- Robbins-Monro (1951); momentum, Polyak (1964), Sutskever et al. (2013)
function gl.optim.sgd(params, options, ...) end
--- Each schedule works on the rate that the one before it gives.
function gl.optim.schedule.chain(options) end
--- factor * lr for the first total_iters steps, then lr
function gl.optim.schedule.constant(options) end
--- half a cosine from lr to eta_min in T_max steps. Loshchilov, Hutter (2016)
function gl.optim.schedule.cosine(options) end
--- cosine, begun anew after T_0 steps, then after T_mult times as many. Loshchilov, Hutter (2016)
function gl.optim.schedule.cosine_restarts(options) end
--- up and down between two rates; mode: triangular, triangular2 or exp_range. Smith (2015)
function gl.optim.schedule.cyclic(options) end
--- lr * gamma ^ t
function gl.optim.schedule.exponential(options) end
--- lr times a factor that goes from one to the other
function gl.optim.schedule.linear(options) end
--- lr times gamma at each of the steps milestones
function gl.optim.schedule.multistep(options) end
--- up to max_lr and down again, once. Smith, Topin (2017)
function gl.optim.schedule.one_cycle(options) end
--- lr times factor when what :observe(metric) is told has not improved for `patience` calls
function gl.optim.schedule.plateau(options) end
--- lr * (1 - t / total_iters) ^ power
function gl.optim.schedule.polynomial(options) end
--- Schedules after one another: list[i + 1] begins, from its own step 0, at list.milestones[i].
function gl.optim.schedule.sequential(options) end
--- lr times gamma every step_size steps
function gl.optim.schedule.step(options) end
--- linear from start_factor * lr to lr, which the last of `steps` steps reaches
function gl.optim.schedule.warmup(options) end
--- rows and columns of numbers from delimited text (gz read as is), and what is known of the columns: a list of {name, classes}. A column of texts becomes class numbers from 1. header: true or false, found out otherwise; skip: that many first lines
function gl.data.csv(path, options) end
--- an array in the IDX format of the MNIST files (gz read as is)
function gl.data.idx(path, options) end
--- Walks a set in batches: `for inputs, labels in loader do`. loader:progress(label) shows a bar.
function gl.data.loader(set, options) end
--- an array that NumPy saved
function gl.data.npy(path) end
--- arrays that NumPy saved together
function gl.data.npz(path) end
--- A bar, for a loop of your own: bar:start(total), bar:advance() after each step, bar:finish().
function gl.data.progress(label) end
--- writes an array for NumPy
function gl.data.save_npy(path, x) end
--- Writes tensors by name for NumPy, uncompressed.
function gl.data.save_npz(path, arrays) end
--- Splits a set in two or more. `sizes` is a number or a list, whole numbers or fractions; what is left over is the last part. In the order of the set, unless {shuffle = true} (with `generator`, or the default one).
function gl.data.split(set, sizes, options) end
--- Columns with mean 0 and standard deviation 1 (a constant column becomes 0), and the statistics {mean, std}, which given as second argument are applied instead: so the test part is treated as the training part was.
function gl.data.standardize(x, statistics) end
--- Level lines of f, a function of a vector of two, from its values on a grid of n x n points.
function gl.plot.contour(f, options) end
--- Level lines of f and the way of a descent over them: a list of points, or an n x 2 tensor.
function gl.plot.descent(f, path, options) end
--- The gradient of f at the n x n points of a grid, as arrows of one length.
function gl.plot.gradient_field(f, options) end
--- How often values fall into equal intervals.
function gl.plot.hist(values, options) end
--- Points joined by lines: line(y) or line(x, y).
function gl.plot.line(x, y, options) end
--- Arrows (u, v) at the points (x, y).
function gl.plot.quiver(x, y, u, v, options) end
--- Points: scatter(y) or scatter(x, y).
function gl.plot.scatter(x, y, options) end
--- Where a matrix, or a sparse one with fields row, col and shape, is not 0.
function gl.plot.spy(matrix, options) end
--- f as a surface over the plane (as text: its heights by shades).
function gl.plot.surface(f, options) end

return gl
