// Why this exists: System.Progress<T> calls back later and out of order; progress here is told at once, on the thread that made it.
namespace CoCLR.Engine;

/// <summary>Makes <see cref="IProgress{T}"/> that call at once.</summary>
public static class ImmediateProgress
{
    /// <summary>Progress that calls an action on the reporting thread.</summary>
    /// <param name="action">The action.</param>
    /// <typeparam name="T">What is reported.</typeparam>
    public static IProgress<T> To<T>(Action<T> action) => new Immediate<T>(action);

    private sealed class Immediate<T>(Action<T> action) : IProgress<T>
    {
        public void Report(T value) => action(value);
    }
}
