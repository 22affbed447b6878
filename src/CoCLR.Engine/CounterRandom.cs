// Why this exists: every random choice is a pure function of (seed, what for, where), so that resuming needs no saved random state
// and results do not depend on how many workers draw.
namespace CoCLR.Engine;

/// <summary>
/// A counter-based random generator: the n-th draw of a stream is SplitMix64's finaliser of <c>key + n * golden ratio</c>, and the key
/// is mixed from a seed and up to four coordinates (epoch, step, slot ...). Two streams with different coordinates are independent;
/// the same coordinates always give the same draws, on every machine and with any number of threads.
/// A mutable struct: pass it by <c>ref</c>, or copy it to repeat its draws.
/// </summary>
/// <remarks>Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.</remarks>
public struct CounterRandom
{
    private const ulong GoldenGamma = 0x9E3779B97F4A7C15UL;
    private readonly ulong _key;
    private ulong _counter;

    /// <summary>Opens the stream of these coordinates at its first draw.</summary>
    /// <param name="seed">The experiment's seed.</param>
    /// <param name="purpose">What the numbers are for; keeps, say, crops apart from clip starts. Hash a name with
    /// <see cref="Purpose"/>.</param>
    /// <param name="a">First coordinate, for example the epoch.</param>
    /// <param name="b">Second coordinate, for example the step.</param>
    /// <param name="c">Third coordinate, for example the slot in the batch.</param>
    /// <param name="d">Fourth coordinate, for example the view.</param>
    public CounterRandom(long seed, ulong purpose = 0, long a = 0, long b = 0, long c = 0, long d = 0)
    {
        var key = Mix((ulong)seed + GoldenGamma);
        key = Mix(key ^ (purpose * 0xD1B54A32D192ED03UL));
        key = Mix(key + ((ulong)a * 0xAEF17502108EF2D9UL) + 1);
        key = Mix(key + ((ulong)b * 0xDA942042E4DD58B5UL) + 2);
        key = Mix(key + ((ulong)c * 0xA0761D6478BD642FUL) + 3);
        _key = Mix(key + ((ulong)d * 0xE7037ED1A0B428DBUL) + 4);
        _counter = 0;
    }

    /// <summary>A stable 64-bit hash of a purpose's name (FNV-1a), the same on every machine and run.</summary>
    /// <param name="name">For example <c>"augmentation"</c>.</param>
    public static ulong Purpose(ReadOnlySpan<char> name)
    {
        var hash = 14695981039346656037UL;
        foreach (var letter in name)
        {
            hash = (hash ^ letter) * 1099511628211UL;
        }

        return hash;
    }

    /// <summary>The next 64 random bits.</summary>
    public ulong NextUInt64() => Mix(_key + (++_counter * GoldenGamma));

    /// <summary>Uniform in [0, <paramref name="exclusiveMax"/>), without modulo bias (Lemire's multiply-shift with rejection).</summary>
    /// <param name="exclusiveMax">At least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="exclusiveMax"/> is below 1.</exception>
    public int NextInt(int exclusiveMax)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(exclusiveMax, 1);
        var range = (ulong)exclusiveMax;
        while (true)
        {
            var high = Math.BigMul(NextUInt64(), range, out var low);
            if (low >= range || low >= (0UL - range) % range)
            {
                return (int)high;
            }
        }
    }

    /// <summary>Uniform in [0, 1) with 53 random bits.</summary>
    public double NextDouble() => (NextUInt64() >> 11) * (1.0 / (1UL << 53));

    /// <summary>Uniform in [<paramref name="low"/>, <paramref name="high"/>).</summary>
    /// <param name="low">Inclusive lower bound.</param>
    /// <param name="high">Exclusive upper bound.</param>
    public double Uniform(double low, double high) => low + ((high - low) * NextDouble());

    /// <summary>True with this probability; always draws exactly one number.</summary>
    /// <param name="probability">0 to 1.</param>
    public bool Bernoulli(double probability) => NextDouble() < probability;

    /// <summary>A standard normal number (Box-Muller; draws exactly two numbers).</summary>
    public double NextGaussian()
    {
        var radius = Math.Sqrt(-2.0 * Math.Log(1.0 - NextDouble()));
        return radius * Math.Cos(2.0 * Math.PI * NextDouble());
    }

    /// <summary>Shuffles in place (Fisher-Yates).</summary>
    /// <typeparam name="T">Element type.</typeparam>
    /// <param name="items">What to shuffle.</param>
    public void Shuffle<T>(Span<T> items)
    {
        for (var i = items.Length - 1; i > 0; i--)
        {
            var j = NextInt(i + 1);
            (items[i], items[j]) = (items[j], items[i]);
        }
    }

    /// <summary>A random order of 0 .. <paramref name="count"/> - 1.</summary>
    /// <param name="count">How many.</param>
    public int[] Permutation(int count)
    {
        var order = new int[count];
        for (var i = 0; i < count; i++)
        {
            order[i] = i;
        }

        Shuffle<int>(order);
        return order;
    }

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }
}
