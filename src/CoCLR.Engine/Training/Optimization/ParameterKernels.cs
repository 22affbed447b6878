// Why this exists: updating hundreds of small tensors one operation at a time costs more than the arithmetic; one pass over raw memory does not.
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training.Optimization;

/// <summary>
/// Element-wise updates of lists of tensors: on the processor one vectorised pass over all of them, split at fixed places, so that the
/// result does not depend on the number of threads; elsewhere the same formulas with tensor operations.
/// </summary>
internal static unsafe class ParameterKernels
{
    /// <summary>Elements one task works on: small enough to balance, large enough not to notice the scheduling.</summary>
    private const int Chunk = 1 << 17;

    /// <summary>What one task does: pointers to up to four arrays of <paramref name="count"/> floats.</summary>
    internal delegate void Kernel(float* a, float* b, float* c, float* d, int count);

    /// <summary>key ← m·key + (1-m)·query for every pair.</summary>
    /// <param name="keys">Written.</param>
    /// <param name="queries">Read; same shapes.</param>
    /// <param name="momentum">m.</param>
    public static void MomentumUpdate(Tensor[] keys, Tensor[] queries, double momentum)
    {
        using var frozen = no_grad();
        if (!keys.Concat(queries).All(IsPlain))
        {
            foreach (var (key, query) in keys.Zip(queries))
            {
                using var step = query.detach() * (1 - momentum);
                key.mul_(momentum).add_(step);
            }

            return;
        }

        var keep = (float)momentum;
        var take = (float)(1 - momentum);
        ForEachChunk(keys, queries, null, null, (key, query, _, _, count) =>
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

    /// <summary>Runs a kernel over chunks of equally long lists of plain tensors.</summary>
    public static void ForEachChunk(Tensor[] first, Tensor[]? second, Tensor[]? third, Tensor[]? fourth, Kernel kernel)
    {
        var work = new List<(nint A, nint B, nint C, nint D, int Count)>();
        for (var t = 0; t < first.Length; t++)
        {
            var count = first[t].numel();
            var (a, b, c, d) = (Pointer(first[t]), Pointer(second?[t]), Pointer(third?[t]), Pointer(fourth?[t]));
            for (long start = 0; start < count; start += Chunk)
            {
                var bytes = (nint)(start * sizeof(float));
                work.Add((a + bytes, Shift(b, bytes), Shift(c, bytes), Shift(d, bytes), (int)Math.Min(Chunk, count - start)));
            }
        }

        CpuParallel.For(work.Count, i =>
        {
            var (a, b, c, d, count) = work[i];
            kernel((float*)a, (float*)b, (float*)c, (float*)d, count);
        });

        static nint Pointer(Tensor? tensor) => tensor is null ? 0 : Address(tensor);
        static nint Shift(nint pointer, nint bytes) => pointer == 0 ? 0 : pointer + bytes;
    }
}
