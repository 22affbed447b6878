// Why this exists: tests run the kernels at every register width, which callers have no reason to choose.
using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("CoCLR.Engine.Tests")]
