//! With the feature `cuda`, compiles the kernels in `cuda` to PTX, which the driver compiles for the GPU of
//! the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=cuda");
    #[cfg(feature = "cuda")]
    {
        let to = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("ptx.rs");
        let ptx =
            cudaforge::KernelBuilder::new().source_dir("cuda").arg("-std=c++17").arg("-O3").build_ptx()?;
        ptx.write(to)?;
    }
    Ok(())
}
