//! With the feature `cuda`, compiles the stream in `cuda` to PTX without fused operations; the driver
//! compiles the PTX for its GPU.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=cuda");
    #[cfg(feature = "cuda")]
    {
        let to = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("ptx.rs");
        let ptx = cudaforge::KernelBuilder::new()
            .source_dir("cuda")
            .arg("-std=c++17")
            .arg("-O3")
            .arg("--fmad=false")
            .build_ptx()?;
        ptx.write(to)?;
    }
    Ok(())
}
