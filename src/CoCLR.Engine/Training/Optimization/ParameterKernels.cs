// Why this exists: updating hundreds of small tensors one operation at a time costs more than the arithmetic; one pass over raw memory
// does not.
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training.Optimization;

/// <summary>
/// Element-wise updates of flat tensors: on the processor one vectorised pass, split at fixed places, so that the result does not depend
/// on the number of threads; elsewhere the
/// same formulas with tensor operations.
/// </summary>
internal static unsafe class ParameterKernels
{
    /// <summary>Elements one task works on: small enough to balance, large enough not to notice the scheduling.</summary>
    private const int Chunk = 1 << 17;

    /// <summary>What one task does: pointers to up to four arrays of <paramref name="count"/> floats.</summary>
    internal delegate void Kernel(float* a, float* b, float* c, float* d, int count);

    /// <summary>key ← m·key + (1-m)·query.</summary>
    /// <param name="key">Written.</param>
    /// <param name="query">Read; of the same shape.</param>
    /// <param name="momentum">m.</param>
    public static void MomentumUpdate(Tensor key, Tensor query, double momentum)
    {
        using var frozen = no_grad();
        if (!IsPlain(key) || !IsPlain(query))
        {
            using var step = query.detach() * (1 - momentum);
            key.mul_(momentum).add_(step);
            return;
        }

        var keep = (float)momentum;
        var take = (float)(1 - momentum);
        ForEachChunk(key, query, null, null, (key, query, _, _, count) =>
        {
            var i = 0;
            for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
            {
                ((Vector.Load(key + i) * keep) + (Vector.Load(query + i) * take)).Store(key + i);
            }

            for (; i < count; i++)
            {
                key[i] = (key[i] * keep) + (query[i] * take);
            }
        });
    }

    /// <summary>True for a tensor whose memory a kernel may walk: contiguous float on the processor.</summary>
    public static bool IsPlain(Tensor tensor) => tensor.device_type == DeviceType.CPU && tensor.dtype == ScalarType.Float32 && tensor.is_contiguous();

    /// <summary>Σ x² in double precision over plain tensors, added up in a fixed order.</summary>
    public static double SumOfSquares(Tensor[] tensors)
    {
        var work = tensors.SelectMany(tensor =>
        {
            var (address, count) = (Address(tensor), tensor.numel());
            return Enumerable.Range(0, (int)((count + Chunk - 1) / Chunk)).Select(i => (Start: address + ((nint)i * Chunk * sizeof(float)), Count: (int)Math.Min(Chunk, count - ((long)i * Chunk))));
        }).ToArray();
        var sums = new double[work.Length];
        CpuParallel.For(work.Length, i =>
        {
            var x = (float*)work[i].Start;
            var wide = Vector<double>.Zero;
            var j = 0;
            for (; j <= work[i].Count - Vector<float>.Count; j += Vector<float>.Count)
            {
                Vector.Widen(Vector.Load(x + j), out var low, out var high);
                wide += (low * low) + (high * high);
            }

            var sum = Vector.Sum(wide);
            for (; j < work[i].Count; j++)
            {
                sum += (double)x[j] * x[j];
            }

            sums[i] = sum;
        });
        return sums.Sum();
    }

    /// <summary>Where a processor tensor's elements start; valid as long as the tensor lives.</summary>
    public static nint Address(Tensor tensor) => (nint)Unsafe.AsPointer(ref MemoryMarshal.GetReference(tensor.bytes));

    /// <summary>Runs a kernel over chunks of equally long plain tensors.</summary>
    public static void ForEachChunk(Tensor first, Tensor? second, Tensor? third, Tensor? fourth, Kernel kernel)
    {
        long count = first.numel();
        if (count == 0)
        {
            return;
        }

        var (a, b, c, d) = (Address(first), Pointer(second), Pointer(third), Pointer(fourth));
        CpuParallel.For((int)((count + Chunk - 1) / Chunk), i =>
        {
            long start = (long)i * Chunk;
            var bytes = (nint)(start * sizeof(float));
            kernel((float*)(a + bytes), (float*)Shift(b, bytes), (float*)Shift(c, bytes), (float*)Shift(d, bytes), (int)Math.Min(Chunk, count - start));
        });

        static nint Pointer(Tensor? tensor) => tensor is null ? 0 : Address(tensor);
        static nint Shift(nint pointer, nint bytes) => pointer == 0 ? 0 : pointer + bytes;
    }
}
